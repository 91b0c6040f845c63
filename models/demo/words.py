# SPDX-License-Identifier: BSD-2-Clause
"""The demo model's CLIP tokenizer: byte-pair merges that make every caption word one token.

Words outside the captions fall apart into shorter pieces, as in any CLIP vocabulary.
"""
import collections
import json

from transformers.convert_slow_tokenizer import bytes_to_unicode

import clips


def caption_words():
    templates = clips.WORDINGS + clips.PARTIAL_WORDINGS
    blank = collections.defaultdict(str)
    words = " ".join(template.format_map(blank) for template in templates).replace(",", " ").split()
    names = list(clips.COLOURS) + list(clips.SHAPES) + list(clips.BACKGROUNDS)
    return sorted(set(words)) + names


def learn_merges(words):
    """Byte-pair encoding to its end: the most frequent pair first, ties by spelling."""
    pieces = [list(word[:-1]) + [word[-1] + "</w>"] for word in words]
    merges = []
    while any(len(word) > 1 for word in pieces):
        pairs = collections.Counter(pair for word in pieces for pair in zip(word, word[1:]))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = [merged(word, best) for word in pieces]
    return merges


def merged(word, pair):
    result = []
    for piece in word:
        if result and (result[-1], piece) == pair:
            result[-1] += piece
        else:
            result.append(piece)
    return result


def save_tokenizer(folder):
    folder.mkdir(parents=True, exist_ok=True)
    letters = list(bytes_to_unicode().values())
    merges = learn_merges(caption_words())
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(m) for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)},
                                                  ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
               "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {**special, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer",
         "do_lower_case": True, "add_prefix_space": False, "errors": "replace"}))
