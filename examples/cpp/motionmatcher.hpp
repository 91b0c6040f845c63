// SPDX-License-Identifier: BSD-2-Clause
// libmotionmatcher for C++17: handles that free themselves, exceptions that carry the status.
// What the functions do is written in the C headers; a handle converts to the C pointer.
#ifndef EXAMPLES_MOTIONMATCHER_HPP
#define EXAMPLES_MOTIONMATCHER_HPP

#include <functional>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <motionmatcher/extractor.h>
#include <motionmatcher/lora.h>
#include <motionmatcher/sampler.h>
#include <motionmatcher/trainer.h>

namespace mm {

struct error : std::runtime_error {
    mm_status status;
    explicit error(mm_status s) : std::runtime_error(mm_last_error()), status(s) {}
};

inline void check(mm_status status)
{
    if (status != MM_OK)
        throw error(status);
}

// Owns a handle; mm_x_free() is the second argument.
template <typename T, void (*Free)(T **)> class handle {
public:
    handle() = default;
    handle(handle &&other) noexcept : pointer(std::exchange(other.pointer, nullptr)) {}
    handle &operator=(handle &&other) noexcept
    {
        std::swap(pointer, other.pointer);
        return *this;
    }
    ~handle() { Free(&pointer); }
    operator T *() const { return pointer; }
    T **out() { return &pointer; } // for a function that makes one

private:
    T *pointer = nullptr;
};

// A handle from a function of the library: make<video>(mm_video_decode, context, path, options).
template <typename Handle, typename... Parameters, typename... Arguments>
Handle make(mm_status (*function)(Parameters...), Arguments &&...arguments)
{
    Handle made;
    check(function(made.out(), std::forward<Arguments>(arguments)...));
    return made;
}

using model = handle<mm_model, mm_model_free>;
using video = handle<mm_video, mm_video_free>;
using tensor = handle<mm_tensor, mm_tensor_free>;
using lora = handle<mm_lora, mm_lora_free>;
using trainer = handle<mm_trainer, mm_trainer_free>;
using sampler = handle<mm_sampler, mm_sampler_free>;
using extractor = handle<mm_extractor, mm_extractor_free>;

class options : public handle<mm_options, mm_options_free> {
public:
    explicit options(const char *table) { check(mm_options_create(out(), table)); }
    options(const char *table, std::initializer_list<std::pair<std::string, std::string>> values)
        : options(table)
    {
        for (const auto &[name, value] : values)
            set(name, value);
    }
    void set(const std::string &name, const std::string &value)
    {
        check(mm_options_set(*this, name.c_str(), value.c_str(), MM_SOURCE_SET));
    }
};

// Reports to functions of the program. They must outlive what is made from the context, and what
// they throw ends here as a stop: nothing may be thrown through C.
class context : public handle<mm_context, mm_context_free> {
public:
    std::function<bool(const mm_event &)> on_event; // false: stop
    std::function<void(int, const char *)> on_log;

    explicit context(const mm_options *settings = nullptr)
    {
        check(mm_context_create(out(), settings));
        mm_context_set_events(*this, event, this);
        mm_context_set_log(*this, log, this);
    }
    context(context &&) = delete; // the library knows its address

private:
    static int32_t event(void *user, const mm_event *event) try {
        auto &self = *static_cast<context *>(user);
        return self.on_event && !self.on_event(*event);
    } catch (...) {
        return 1;
    }
    static void log(void *user, int32_t level, const char *message) try {
        auto &self = *static_cast<context *>(user);
        if (self.on_log)
            self.on_log(level, message);
    } catch (...) {
    }
};

} // namespace mm

#endif
