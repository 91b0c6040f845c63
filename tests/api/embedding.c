/* SPDX-License-Identifier: BSD-2-Clause */
/* The library inside a program of others: several contexts and models, threads, handles freed in
   any order and used again, cancelling, forking, and nothing of the process touched. */
#include "embedding.h"

#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"

static mm_context *context;
static mm_model *model, *other;
static uint64_t model_sample, other_sample, model_features;

/* A child that hangs is ended by its alarm. */
#define CHILD_SECONDS 60
#define CHILD_NEEDS(condition) \
    do {                       \
        if (!(condition))      \
            _exit(1);          \
    } while (0)

static void run_child(void (*body)(void))
{
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        fail_msg("the child ended by signal %d", WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Before anything else of this program has made a context. */
static void work_as_first(void)
{
    mm_context *own = NULL;
    mm_model *opened = NULL;
    uint64_t sum = 0;
    CHILD_NEEDS(work_context(&own, "2") == MM_OK);
    CHILD_NEEDS(mm_model_open(&opened, own, MODEL) == MM_OK);
    CHILD_NEEDS(work_sample(opened, &sum) == MM_OK);
    mm_model_free(&opened);
    mm_context_free(&own);
}

static int begin(void **state)
{
    (void)state;
    run_child(work_as_first);
    OK(work_context(&context, "2"));
    OK(mm_model_open(&model, context, MODEL));
    OK(mm_model_open(&other, context, OTHER_MODEL));
    OK(work_sample(model, &model_sample));
    OK(work_sample(other, &other_sample));
    OK(work_features(model, &model_features));
    assert_true(model_sample != other_sample);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mm_model_free(&other);
    mm_model_free(&model);
    mm_context_free(&context);
    return 0;
}

static void test_two_models_by_turns(void **state)
{
    (void)state;
    mm_sampler *a = NULL, *b = NULL;
    uint64_t sum;
    OK(work_sampler(&a, model));
    OK(work_sampler(&b, other));
    for (int turn = 0; turn < 2; turn++) {
        OK(work_sampler_sum(a, &sum));
        assert_true(sum == model_sample);
        OK(work_sampler_sum(b, &sum));
        assert_true(sum == other_sample);
    }
    mm_sampler_free(&b);
    mm_sampler_free(&a);
}

static void test_handles_are_used_again(void **state)
{
    (void)state;
    mm_extractor *extractor = NULL;
    uint64_t first, second, third;
    OK(work_extractor(&extractor, model));
    OK(work_extractor_sum(extractor, 500, &first));
    OK(work_extractor_sum(extractor, 900, &second));
    OK(work_extractor_sum(extractor, 500, &third));
    assert_true(first == model_features && third == first && second != first);
    mm_extractor_free(&extractor);
    OK(work_train(model, NULL));
    OK(work_sample(model, &first));
    assert_true(first == model_sample);
}

typedef struct worker {
    const char *directory;
    uint64_t sum;
    mm_status status;
    char message[256];
} worker;

static void *work_alone(void *argument)
{
    worker *w = argument;
    mm_context *own = NULL;
    mm_model *opened = NULL;
    w->status = work_context(&own, "2");
    if (w->status == MM_OK)
        w->status = mm_model_open(&opened, own, w->directory);
    if (w->status == MM_OK)
        w->status = work_sample(opened, &w->sum);
    if (w->status == MM_OK)
        w->status = work_sample(opened, &w->sum);
    if (w->status != MM_OK)
        snprintf(w->message, sizeof(w->message), "%s", mm_last_error());
    mm_context_free(&own);
    mm_model_free(&opened);
    return NULL;
}

/* Each thread's errors are its own. */
static void test_a_context_for_each_thread(void **state)
{
    (void)state;
    worker workers[] = {{.directory = MODEL},
                        {.directory = OTHER_MODEL},
                        {.directory = "/nonexistent/one"},
                        {.directory = "/nonexistent/two"}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work_alone, &workers[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    if (workers[0].status != MM_OK || workers[1].status != MM_OK)
        fail_msg("%s %s", workers[0].message, workers[1].message);
    assert_true(workers[0].sum == model_sample && workers[1].sum == other_sample);
    assert_int_equal(workers[2].status, MM_ERR_INPUT);
    assert_non_null(strstr(workers[2].message, "/nonexistent/one"));
    assert_non_null(strstr(workers[3].message, "/nonexistent/two"));
}

/* One of each handle, to be freed in any order. */
typedef struct family {
    mm_context *context;
    mm_model *model;
    mm_lora *lora, *sum, *made, *trained;
    mm_extractor *extractor;
    mm_sampler *sampler;
    mm_trainer *trainer;
    mm_video *video;
    mm_tensor *down, *up, *frames;
} family;

#define MEMBERS 13

/* Of the LoRA's first layer and of the video; a LoRA of the same matrices; the trainer's. */
static void make_tensors(family *f)
{
    mm_lora_layer_info info = {.struct_size = sizeof(info)};
    OK(mm_lora_describe(f->lora, 0, &info));
    OK(mm_lora_matrices(f->lora, 0, &f->down, &f->up));
    OK(mm_lora_create(&f->made, f->model));
    OK(mm_lora_add_layer(f->made, info.path, f->down, f->up, info.alpha));
    OK(mm_trainer_lora(f->trainer, &f->trained));
    OK(mm_video_tensor(f->video, &f->frames));
}

static void make_family(family *f)
{
    const double weight = 0.5;
    OK(work_context(&f->context, "1"));
    OK(mm_model_open(&f->model, f->context, MODEL));
    OK(mm_lora_open(&f->lora, f->model, LORA));
    OK(mm_lora_merge(&f->sum, (const mm_lora *const *)&f->lora, &weight, 1));
    OK(work_extractor(&f->extractor, f->model));
    OK(work_sampler(&f->sampler, f->model));
    OK(work_trainer(&f->trainer, f->model, NULL));
    OK(work_video(&f->video));
    make_tensors(f);
}

static void free_member(family *f, int member)
{
    switch (member) {
    case 0:
        mm_context_free(&f->context);
        break;
    case 1:
        mm_model_free(&f->model);
        break;
    case 2:
        mm_lora_free(&f->lora);
        break;
    case 3:
        mm_lora_free(&f->sum);
        break;
    case 4:
        mm_extractor_free(&f->extractor);
        break;
    case 5:
        mm_sampler_free(&f->sampler);
        break;
    case 6:
        mm_trainer_free(&f->trainer);
        break;
    case 7:
        mm_lora_free(&f->made);
        break;
    case 8:
        mm_lora_free(&f->trained);
        break;
    case 9:
        mm_tensor_free(&f->down);
        break;
    case 10:
        mm_tensor_free(&f->up);
        break;
    case 11:
        mm_tensor_free(&f->frames);
        break;
    default:
        mm_video_free(&f->video);
        break;
    }
}

/* Everything that is left still answers. */
static void ask_family(const family *f)
{
    int64_t ids[77];
    mm_lora_layer_info info = {.struct_size = sizeof(info)};
    if (f->context)
        assert_string_equal(mm_context_device(f->context), "cpu");
    if (f->model)
        OK(mm_model_tokenize(f->model, "a", ids));
    if (f->lora)
        OK(mm_lora_describe(f->lora, 0, &info));
    if (f->sum)
        OK(mm_lora_describe(f->sum, 0, &info));
    if (f->extractor)
        OK(mm_extractor_plan(f->extractor));
    if (f->sampler)
        OK(mm_sampler_plan(f->sampler));
    if (f->trainer)
        OK(mm_trainer_plan(f->trainer));
    if (f->made)
        OK(mm_lora_describe(f->made, 0, &info));
    if (f->trained)
        OK(mm_lora_describe(f->trained, 0, &info));
    if (f->down)
        assert_true(isfinite(*(const float *)mm_tensor_data(f->down)));
    if (f->up)
        assert_true(isfinite(*(const float *)mm_tensor_data(f->up)));
    if (f->frames)
        assert_int_equal(((const uint8_t *)mm_tensor_data(f->frames))[1], 7);
    if (f->video)
        assert_int_equal(mm_video_frames(f->video), FRAMES);
}

static void test_handles_are_freed_in_any_order(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (int round = 0; round < 20; round++) {
        family f = {0};
        int order[MEMBERS];
        for (int i = 0; i < MEMBERS; i++)
            order[i] = i;
        for (int i = MEMBERS - 1; i > 0; i--) {
            random = random * 1664525u + 1013904223u;
            int j = (int)((random >> 16) % (uint32_t)(i + 1)), kept = order[i];
            order[i] = order[j];
            order[j] = kept;
        }
        make_family(&f);
        for (int i = 0; i < MEMBERS; i++) {
            free_member(&f, order[i]);
            ask_family(&f);
        }
    }
}

static void test_children_work_without_their_parents(void **state)
{
    (void)state;
    family f = {0};
    uint64_t sum;
    make_family(&f);
    mm_context_free(&f.context);
    mm_model_free(&f.model);
    mm_lora_free(&f.lora);
    OK(work_sampler_sum(f.sampler, &sum));
    assert_true(sum == model_sample);
    OK(work_extractor_sum(f.extractor, 500, &sum));
    assert_true(sum == model_features);
    OK(mm_trainer_run(f.trainer));
    OK(mm_lora_scale(f.sum, 2.0));
    for (int i = 0; i < MEMBERS; i++)
        free_member(&f, i);
}

/* A second thread that cancels while the first is inside an event of the wanted kind. */
typedef struct canceller {
    mm_context *context;
    int32_t kind;
    atomic_int wanted, done, steps_after;
} canceller;

static void *cancel_when_wanted(void *argument)
{
    canceller *c = argument;
    while (!atomic_load(&c->wanted))
        usleep(100);
    mm_context_cancel(c->context);
    atomic_store(&c->done, 1);
    return NULL;
}

static int32_t want_cancel(void *user, const mm_event *event)
{
    canceller *c = user;
    if (atomic_load(&c->done))
        atomic_fetch_add(&c->steps_after, event->kind == MM_EVENT_STEP);
    if (event->kind != c->kind || atomic_load(&c->done))
        return 0;
    atomic_store(&c->wanted, 1);
    while (!atomic_load(&c->done))
        usleep(100);
    return 0;
}

/* What was cancelled ends without one more step, and goes well the next time. */
static void cancel_at(int32_t kind, mm_status (*work)(void *), void *handle)
{
    canceller c = {.context = context, .kind = kind};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_wanted, &c), 0);
    mm_context_set_events(context, want_cancel, &c);
    FAILS(work(handle), MM_ERR_CANCELLED, "");
    pthread_join(thread, NULL);
    mm_context_set_events(context, NULL, NULL);
    assert_int_equal(atomic_load(&c.steps_after), 0);
    FAILS(work(handle), MM_ERR_CANCELLED, "");
    mm_context_resume(context);
    OK(work(handle));
}

static mm_status run_sampler(void *handle)
{
    uint64_t sum = 0;
    mm_status status = work_sampler_sum(handle, &sum);
    assert_true(status != MM_OK || sum == model_sample);
    return status;
}

static mm_status run_extractor(void *handle)
{
    uint64_t sum = 0;
    mm_status status = work_extractor_sum(handle, 500, &sum);
    assert_true(status != MM_OK || sum == model_features);
    return status;
}

static mm_status run_trainer(void *handle)
{
    return mm_trainer_run(handle);
}

static void test_cancel_from_another_thread(void **state)
{
    (void)state;
    mm_sampler *sampler = NULL;
    mm_extractor *extractor = NULL;
    mm_trainer *trainer = NULL;
    OK(work_sampler(&sampler, model));
    OK(work_extractor(&extractor, model));
    OK(work_trainer(&trainer, model, NULL));
    cancel_at(MM_EVENT_STAGE, run_sampler, sampler);
    cancel_at(MM_EVENT_STEP, run_sampler, sampler);
    cancel_at(MM_EVENT_STAGE, run_extractor, extractor);
    cancel_at(MM_EVENT_STEP, run_trainer, trainer);
    mm_trainer_free(&trainer);
    mm_extractor_free(&extractor);
    mm_sampler_free(&sampler);
}

static bool refused_by_fork(mm_status status)
{
    return status == MM_ERR_USAGE && strstr(mm_last_error(), "fork");
}

static void work_after_fork(void)
{
    mm_context *own = NULL;
    mm_model *opened = NULL;
    mm_sampler *sampler = NULL;
    mm_lora *lora = NULL;
    uint64_t sum = 0;
    CHILD_NEEDS(refused_by_fork(work_sample(model, &sum)));
    CHILD_NEEDS(refused_by_fork(work_features(model, &sum)));
    CHILD_NEEDS(refused_by_fork(work_train(model, NULL)));
    CHILD_NEEDS(refused_by_fork(mm_model_open(&opened, context, MODEL)));
    CHILD_NEEDS(refused_by_fork(mm_lora_open(&lora, model, LORA)));
    CHILD_NEEDS(refused_by_fork(work_context(&own, "2")));
    mm_model_free(&model);
    mm_context_free(&context);
    CHILD_NEEDS(work_context(&own, "1") == MM_OK);
    CHILD_NEEDS(mm_model_open(&opened, own, MODEL) == MM_OK);
    CHILD_NEEDS(work_sampler(&sampler, opened) == MM_OK);
    CHILD_NEEDS(work_sampler_sum(sampler, &sum) == MM_OK && sum == model_sample);
    mm_sampler_free(&sampler);
    mm_model_free(&opened);
    mm_context_free(&own);
}

static void test_fork_fails_cleanly(void **state)
{
    (void)state;
    uint64_t sum;
    run_child(work_after_fork);
    OK(work_sample(model, &sum));
    assert_true(sum == model_sample);
}

/* What belongs to the program and not to a library. */
typedef struct process_state {
    struct sigaction actions[NSIG];
    sigset_t mask;
    char *locale, *directory;
    mode_t umask;
    int rounding;
    char *environment;
} process_state;

extern char **environ;

static char *join_environment(void)
{
    size_t bytes = 1;
    for (char **item = environ; *item; item++)
        bytes += strlen(*item) + 1;
    char *all = calloc(1, bytes), *end = all;
    for (char **item = environ; *item; item++)
        end = stpcpy(stpcpy(end, *item), "\n");
    return all;
}

static void take_state(process_state *s)
{
    memset(s, 0, sizeof(*s));
    for (int i = 1; i < NSIG; i++)
        sigaction(i, NULL, &s->actions[i]);
    sigprocmask(SIG_BLOCK, NULL, &s->mask);
    s->locale = strdup(setlocale(LC_ALL, NULL));
    s->directory = getcwd(NULL, 0);
    s->umask = umask(0);
    umask(s->umask);
    s->rounding = fegetround();
    s->environment = join_environment();
}

static void free_state(process_state *s)
{
    free(s->locale);
    free(s->directory);
    free(s->environment);
}

static void work_of_every_kind(const char *directory)
{
    mm_context *own = NULL;
    mm_model *opened = NULL;
    uint64_t sum;
    char *run = mm_path_join(directory, "run");
    OK(mm_context_create(&own, NULL));
    OK(mm_model_open(&opened, own, MODEL));
    OK(work_sample(opened, &sum));
    OK(work_features(opened, &sum));
    OK(work_train(opened, run));
    mm_free(run);
    mm_model_free(&opened);
    mm_context_free(&own);
}

/* Failures are as quiet: files that FFmpeg, the parsers and the loaders refuse. */
static void fail_in_many_ways(const char *directory)
{
    mm_video *video = NULL;
    mm_model *none = NULL;
    mm_lora *lora = NULL;
    mm_options *options = check_options("train", "num_frames", "100", NULL);
    assert_int_not_equal(mm_video_decode(&video, context, FIXTURES "/media/plain.mp4", options),
                         MM_OK);
    assert_int_not_equal(mm_video_decode(&video, context, FIXTURES "/media/no-index.mp4", options),
                         MM_OK);
    assert_int_not_equal(mm_video_decode(&video, context, FIXTURES "/media/session.sdp", options),
                         MM_OK);
    assert_int_not_equal(mm_model_open(&none, context, directory), MM_OK);
    assert_int_not_equal(mm_lora_open(&lora, model, MODEL "/model_index.json"), MM_OK);
    assert_int_not_equal(mm_options_load(options, NULL, LORA), MM_OK);
    mm_options_free(&options);
}

/* Field by field: glibc leaves chance in what the kernel does not fill. */
static void assert_same_signals(const process_state *a, const process_state *b)
{
    for (int i = 1; i < NSIG; i++) {
        assert_ptr_equal(a->actions[i].sa_handler, b->actions[i].sa_handler);
        assert_int_equal(a->actions[i].sa_flags, b->actions[i].sa_flags);
        assert_int_equal(sigismember(&a->mask, i), sigismember(&b->mask, i));
    }
}

static void test_the_process_is_left_alone(void **state)
{
    (void)state;
    process_state before, after;
    char *scratch = check_directory();
    take_state(&before);
    work_of_every_kind(scratch);
    fail_in_many_ways(scratch);
    take_state(&after);
    assert_same_signals(&before, &after);
    assert_string_equal(before.locale, after.locale);
    assert_string_equal(before.directory, after.directory);
    assert_string_equal(before.environment, after.environment);
    assert_int_equal(before.umask, after.umask);
    assert_int_equal(before.rounding, after.rounding);
    free_state(&before);
    free_state(&after);
    check_remove(scratch);
}

static void test_nothing_is_printed(void **state)
{
    (void)state;
    char *scratch = check_directory(), *path = mm_path_join(scratch, "output");
    struct stat info;
    fflush(NULL);
    int output = dup(1), errors = dup(2), file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(output >= 0 && errors >= 0 && file >= 0);
    dup2(file, 1);
    dup2(file, 2);
    work_of_every_kind(scratch);
    fail_in_many_ways(scratch);
    fflush(NULL);
    dup2(output, 1);
    dup2(errors, 2);
    close(output);
    close(errors);
    assert_int_equal(fstat(file, &info), 0);
    assert_int_equal(info.st_size, 0);
    close(file);
    mm_free(path);
    check_remove(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_models_by_turns),
        cmocka_unit_test(test_handles_are_used_again),
        cmocka_unit_test(test_a_context_for_each_thread),
        cmocka_unit_test(test_handles_are_freed_in_any_order),
        cmocka_unit_test(test_children_work_without_their_parents),
        cmocka_unit_test(test_cancel_from_another_thread),
        cmocka_unit_test(test_fork_fails_cleanly),
        cmocka_unit_test(test_the_process_is_left_alone),
        cmocka_unit_test(test_nothing_is_printed),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
