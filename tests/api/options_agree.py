# SPDX-License-Identifier: BSD-2-Clause
"""One table of options for each handle: that C introspection, JSON and YAML files, the command line,
--help, manual pages, completions, docs/options.md and Python's keywords tell the same.

usage: options_agree.py PRINT_OPTIONS TOOLS_DIR OPTIONS.MD YAML [PYTHON_PACKAGE]
With a package, MM_LIBRARY names the library."""
import functools
import importlib
import inspect
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

PRINTER, TOOLS, DOCUMENT = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
YAML = sys.argv[4] == "yaml"
PACKAGE = sys.argv[5] if len(sys.argv) > 5 else None
# Tables with a tool that prints all of their options, and what it needs to do so.
WHOLE = {
    "train": ["mm-train", "--video", "v", "--prompt", "p", "--output-dir", "o"],
    "sample": ["mm-infer", "--prompt", "p", "--output-dir", "o"],
    "features": ["mm-eval", "features", "v", "--prompt", "p", "--timestep", "5", "--output", "o"],
    "retrieve": ["mm-eval", "retrieve", "v", "--query", "q"],
}
# Given to every tool, read before the config is printed, or taken in place of another option.
NAMED_APART = ("model", "seed", "checkpoint_folder", "output")
# Who takes a table's options as keywords, and which of them it has as parameters of its own.
KEYWORDS = {
    "context": ("Context", set()),
    "train": ("Trainer", {"model"}),
    "sample": ("Sampler", {"model", "lora"}),
    "features": ("Extractor", {"model"}),
    "evaluate": ("Evaluator", set()),
    "retrieve": ("Retriever", {"model"}),
}
EVALUATIONS = ["clip-scores", "image-reward", "motion-discrepancy"]


@functools.lru_cache(maxsize=None)
def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120,
                          check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


TABLES = json.loads(run(PRINTER, "json"))


def tool(name, *arguments):
    return run(TOOLS / name, *arguments)


def config_of(table, *arguments):
    name, *rest = WHOLE[table]
    return json.loads(tool(name, *rest, "--model", "m", "--seed", "3", "--print-config", *arguments))


def squeeze(text):
    return re.sub(r"\s+", " ", text)


def help_of(table):
    if table == "context":
        return tool("mm-train", "--help")
    if table == "evaluate":
        return "".join(tool("mm-eval", command, "--help") for command in EVALUATIONS)
    name, *rest = WHOLE[table]
    command = [rest[0]] if name == "mm-eval" else []
    return tool(name, *command, "--help")


def tools_of(table):
    if table == "context":
        return ["mm-train", "mm-infer", "mm-eval", "mm-lora"]
    return [WHOLE.get(table, ["mm-eval"])[0]]


def other_value(row):
    """A value in the option's range that is not its default."""
    kind = row["type"]
    if kind == "flag":
        return row["default"] != "true"
    if kind == "choice":
        return next(word for word in row["unit"].split("|") if word != row["default"])
    if kind == "list":
        return ["one", "two"]
    if kind in ("integer", "size"):
        low = int(row["low"])
        return low if str(low) != row["default"] else low + 1
    if kind == "real":
        return row["low"] + (min(row["high"], 1000.0) - row["low"]) / 4
    return "a text"


def as_argument(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class Agreement(unittest.TestCase):
    def rows(self, *tables):
        for table in tables or TABLES:
            for row in TABLES[table]:
                yield table, row

    def test_tables_say_enough(self):
        self.assertEqual(set(TABLES), {"context", "train", "sample", "features", "evaluate",
                                       "retrieve"})
        for table, row in self.rows():
            self.assertRegex(row["name"], r"^[a-z][a-z0-9_]*$", table)
            self.assertGreater(len(row["help"]), 10, row)
            if row["type"] in ("integer", "real"):
                self.assertLess(row["low"], row["high"], row)
            if row["type"] in ("text", "list"):
                self.assertTrue(row["unit"], row)

    def test_document_is_current(self):
        self.assertEqual(DOCUMENT.read_text(), run(PRINTER, "markdown"),
                         "write it again: print_options markdown >docs/options.md")

    def test_printed_config_has_the_tables(self):
        for table in WHOLE:
            names = [row["name"] for row in TABLES["context"] + TABLES[table]]
            self.assertEqual(sorted(config_of(table)), sorted(names), table)

    def test_help_tells_name_text_and_default(self):
        for table, row in self.rows():
            text = squeeze(help_of(table))
            option = "--" + row["name"].replace("_", "-") + " "
            self.assertIn(option, text, table)
            self.assertIn(squeeze(row["help"]), text, table)
            if row["default"] and row["type"] != "flag" and row["name"] != "seed":
                self.assertIn(f"[{row['default']}]", text, row)

    def test_manual_and_completions_have_every_name(self):
        marks = {"man": "\\-\\-{}\\fR", "bash": "--{}", "zsh": "--{}", "fish": "-l {}"}
        for name in ("mm-train", "mm-infer", "mm-eval"):
            for form, mark in marks.items():
                text = tool(name, "--describe", form)
                for table, row in self.rows():
                    if name in tools_of(table):
                        flag = row["name"].replace("_", "\\-" if form == "man" else "-")
                        self.assertIn(mark.format(flag), text, (name, form, table))

    def check_sources(self, table, write, ending):
        """Every option but the context's at another value: from a file, and as flags."""
        values = {row["name"]: other_value(row) for row in TABLES[table]
                  if row["name"] not in NAMED_APART}
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "config" + ending)
            path.write_text(write(values))
            name = WHOLE[table][0]
            command = WHOLE[table][1:2] if name == "mm-eval" else []
            from_file = json.loads(tool(name, *command, "--model", "m", "--seed", "3", "--config",
                                        path, "--print-config"))
        flags = []
        for key, value in values.items():
            for item in value if isinstance(value, list) else [value]:
                flags.append(f"--{key.replace('_', '-')}={as_argument(item)}")
        from_flags = json.loads(tool(name, *command, "--model", "m", "--seed", "3", *flags,
                                     "--print-config"))
        self.assertEqual(from_file, from_flags)
        for key, value in values.items():
            self.assertEqual(from_file[key], value, key)

    def test_json_files_and_flags(self):
        for table in ("train", "sample"):
            self.check_sources(table, json.dumps, ".json")

    @unittest.skipUnless(PACKAGE, "no Python package with this build")
    def test_python_keywords(self):
        sys.path.insert(0, PACKAGE)
        mm = importlib.import_module("motionmatcher")
        self.assertEqual(set(TABLES), set(KEYWORDS))
        for table, (name, own) in KEYWORDS.items():
            described = [{**vars(row), "default": row.default or ""} for row in mm.describe(table)]
            self.assertEqual(described, TABLES[table])
            parameters = inspect.signature(getattr(mm, name)).parameters.values()
            self.assertIn(inspect.Parameter.VAR_KEYWORD, {p.kind for p in parameters}, name)
            named = {row["name"] for row in TABLES[table]}
            self.assertEqual({p.name for p in parameters} & named, own, name)
            values = {row["name"]: other_value(row) for row in TABLES[table]}
            with mm.Options(table, values) as options:
                taken = options.as_dict()
            self.assertEqual({key: taken[key] for key in values}, values, table)

    @unittest.skipUnless(YAML, "no libyaml")
    def test_yaml_files_and_flags(self):
        def yaml(values):
            return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
        for table in ("train", "sample"):
            self.check_sources(table, yaml, ".yaml")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
