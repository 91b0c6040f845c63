// SPDX-License-Identifier: BSD-2-Clause
// Learns the motion of a video and draws another one with it, in one program:
//
//     customize MODEL VIDEO PROMPT NEW_PROMPT OUTPUT [option=value ...]
//
// OUTPUT is a video file; the LoRA is left beside it as OUTPUT.safetensors. Options are those of
// table "train"; the size of the clip is that of the new video too.
#include <iostream>

#include "motionmatcher.hpp"

static mm::options parse(const std::vector<std::string> &arguments)
{
    mm::options options("train");
    for (const auto &argument : arguments) {
        auto equals = argument.find('=');
        options.set(argument.substr(0, equals),
                    equals == std::string::npos ? "true" : argument.substr(equals + 1));
    }
    return options;
}

static std::string text(mm_options *options, const char *name)
{
    const char *value = nullptr;
    mm::check(mm_options_get(options, name, 0, &value));
    return value ? value : "";
}

static void learn(mm_context *context, mm_model *model, mm_options *options,
                  const std::vector<std::string> &names, const std::string &lora_path)
{
    auto clip = mm::make<mm::video>(mm_video_decode, context, names[1].c_str(), options);
    auto trainer = mm::make<mm::trainer>(mm_trainer_create, model, options);
    mm::check(mm_trainer_add_clip(trainer, clip, names[2].c_str()));
    mm::check(mm_trainer_run(trainer));
    mm::lora lora;
    mm::check(mm_trainer_lora(trainer, lora.out()));
    mm::check(mm_lora_save(lora, lora_path.c_str(), "peft"));
}

static void draw(mm_model *model, mm_options *train, const std::vector<std::string> &names,
                 const std::string &lora_path)
{
    mm::options options("sample", {{"prompt", names[3]}, {"output", names[4]}, {"lora", lora_path}});
    for (auto name : {"width", "height", "num_frames"})
        options.set(name, text(train, name));
    options.set("num_steps", text(train, "validation_num_steps"));
    auto sampler = mm::make<mm::sampler>(mm_sampler_create, model, options);
    mm::check(mm_sampler_run(sampler, nullptr));
}

int main(int argc, char **argv)
{
    std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() < 5) {
        std::cerr << "usage: customize MODEL VIDEO PROMPT NEW_PROMPT OUTPUT [option=value ...]\n";
        return 2;
    }
    try {
        mm::context context;
        context.on_log = [](int, const char *message) { std::cerr << message << '\n'; };
        context.on_event = [](const mm_event &event) {
            if (event.kind == MM_EVENT_STEP)
                std::cerr << event.step << '/' << event.of << (event.step < event.of ? '\r' : '\n');
            return true;
        };
        auto model = mm::make<mm::model>(mm_model_open, context, arguments[0].c_str());
        auto options = parse({arguments.begin() + 5, arguments.end()});
        const std::string lora_path = arguments[4] + ".safetensors";
        learn(context, model, options, arguments, lora_path);
        draw(model, options, arguments, lora_path);
        return 0;
    } catch (const mm::error &problem) {
        std::cerr << mm_status_name(problem.status) << ": " << problem.what() << '\n';
        return -problem.status;
    }
}
