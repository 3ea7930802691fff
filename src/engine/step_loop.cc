#include "engine/step_loop.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <numeric>
#include <utility>

namespace minicpm {

/// One caller's wish.
struct StepLoop::Job {
  Sequence* sequence;
  const std::atomic<bool>* cancel;
  After after;
  std::optional<Sampler> sampler = {};  // none: only the prompt's state is wanted
  int64_t room = 0;                     // tokens that may still be sampled
  DraftPace pace = DraftPace(0);

  // Made by a step, belongs to whoever has the turn until it is published.
  std::vector<SampledToken> sampled = {};
  int64_t drafted = 0, accepted = 0;
  std::optional<FinishReason> ended = {};

  // Under the mutex:
  bool scheduled = false;                // its sequence is in the scheduler
  bool begun = false;                    // its prompt is computed
  bool announced = false;                // and its caller knows
  bool leaving = false;                  // its caller waits to take the sequence back
  bool waiting = false;                  // its caller sleeps
  std::vector<SampledToken> fresh = {};  // sampled, not yet handed to the caller
  std::optional<PromptState> state = {};
  std::optional<FinishReason> finished = {};
  std::exception_ptr error = {};
  std::condition_variable ready = {};

  bool cancelled() const { return cancel != nullptr && cancel->load(); }
  bool has_news() const { return !fresh.empty() || finished || leaving || (begun && !announced); }

  void wait(std::unique_lock<std::mutex>& lock) {
    waiting = true;
    ready.wait(lock);
    waiting = false;
  }
};

StepLoop::StepLoop(Scheduler& scheduler, Runner& runner, std::vector<int32_t> stop_ids, Drafting drafting)
    : scheduler_(&scheduler), runner_(&runner), stop_ids_(std::move(stop_ids)), drafting_(drafting) {}

std::optional<PromptState> StepLoop::prefill(Sequence& sequence, const std::atomic<bool>* cancel, After after) {
  Job job{&sequence, cancel, after};
  run(job, {});
  return std::move(job.state);
}

FinishReason StepLoop::generate(Sequence& sequence, const SamplingParams& params, const Callbacks& callbacks,
                                const std::atomic<bool>* cancel, std::shared_ptr<TokenConstraint> constraint,
                                After after) {
  Job job{&sequence, cancel, after};
  job.sampler.emplace(params, stop_ids_, std::move(constraint));
  job.room = params.max_tokens;
  job.pace = DraftPace(drafting_.most);
  run(job, callbacks);
  return *job.finished;
}

// ---- the caller's side ---------------------------------------------------------------------------------------------

void StepLoop::run(Job& job, const Callbacks& callbacks) {
  std::unique_lock lock(mutex_);
  jobs_.push_back(&job);
  struct Leave {
    StepLoop& loop;
    Job& job;
    std::unique_lock<std::mutex>& lock;
    ~Leave() { loop.leave(job, lock); }
  } guard{*this, job, lock};

  for (;;) {
    if (!job.fresh.empty() || (job.begun && !job.announced)) {
      if (!deliver(job, lock, callbacks)) continue;
      job.finished = FinishReason::kStop;
      break;
    }
    if (job.finished) break;
    if (job.cancelled()) {
      job.finished = FinishReason::kCancelled;
    } else if (turn_taken_ || exclusive_waiting_ > 0) {
      job.wait(lock);
    } else {
      step(lock);
    }
  }
  if (job.error) std::rethrow_exception(job.error);
}

// Hands what is new to the caller, without the lock. True if the caller ends the answer.
bool StepLoop::deliver(Job& job, std::unique_lock<std::mutex>& lock, const Callbacks& callbacks) {
  const std::vector<SampledToken> fresh = std::exchange(job.fresh, {});
  const bool begins = job.begun && !std::exchange(job.announced, job.begun);
  lock.unlock();
  struct Relock {
    std::unique_lock<std::mutex>& lock;
    ~Relock() { lock.lock(); }
  } relock{lock};
  if (begins && callbacks.on_begin) callbacks.on_begin();
  return std::ranges::any_of(fresh, callbacks.on_token);
}

// Takes the sequence out of the scheduler, if need be after the step that computes it.
void StepLoop::leave(Job& job, std::unique_lock<std::mutex>& lock) {
  job.leaving = true;
  while (job.scheduled && turn_taken_)
    job.wait(lock);
  if (job.scheduled) withdraw(job);
  std::erase(jobs_, &job);
  if (!turn_taken_) pass_turn();  // others may have relied on this caller to go on
}

void StepLoop::give_back(Sequence&& sequence, After after) {
  const std::scoped_lock lock(mutex_);
  returned_.push_back({std::move(sequence), after});
  if (turn_taken_) return;
  take_returned();
  refresh_stats();
}

void StepLoop::exclusively(const std::function<void()>& work) {
  std::unique_lock lock(mutex_);
  ++exclusive_waiting_;
  turn_free_.wait(lock, [&] { return !turn_taken_; });
  --exclusive_waiting_;
  turn_taken_ = true;
  take_returned();
  lock.unlock();
  struct Turn {
    StepLoop& loop;
    std::unique_lock<std::mutex>& lock;
    ~Turn() {
      lock.lock();
      loop.turn_taken_ = false;
      loop.pass_turn();
    }
  } turn{*this, lock};
  work();
}

EngineStats StepLoop::stats() const {
  const std::scoped_lock lock(mutex_);
  EngineStats stats = stats_;
  stats.callers = static_cast<int64_t>(jobs_.size());
  stats.callers_begun = std::ranges::count_if(jobs_, [](const Job* job) { return job->begun; });
  return stats;
}

// Needs the turn, or that nobody has it.
void StepLoop::refresh_stats() {
  const SchedulerStats scheduler = scheduler_->stats();
  stats_.kept_sequences = scheduler.kept;
  stats_.reused_tokens = scheduler.reused_tokens;
  stats_.preempted = scheduler.preempted;
  stats_.free_blocks = scheduler.free_blocks;
  stats_.num_blocks = scheduler.num_blocks;
  stats_.media_cache_bytes = runner_->media_cache().bytes();
  stats_.media_cache_hits = runner_->media_cache().hits();
  stats_.media_cache_misses = runner_->media_cache().misses();
}

// ---- the step's side -----------------------------------------------------------------------------------------------

// One step for all callers.
void StepLoop::step(std::unique_lock<std::mutex>& lock) {
  turn_taken_ = true;
  take_returned();
  std::vector<Job*> active;
  for (Job* job : jobs_) {
    const bool wanted = !job->finished && !job->leaving;
    if (wanted && !job->scheduled) scheduler_->add(*job->sequence);
    if (!wanted && job->scheduled) withdraw(*job);
    job->scheduled = wanted;
    if (wanted) active.push_back(job);
  }
  lock.unlock();
  const int64_t rows = compute(active);
  lock.lock();
  for (Job* job : active)
    publish(*job);
  ++stats_.steps;
  stats_.rows += rows;
  turn_taken_ = false;
  pass_turn();
}

/// A step is in vain when all for whom it computes are gone.
class StepLoop::InVain : public Interrupt {
 public:
  void add(const Job* job) { jobs_.push_back(job); }
  bool wanted() const override {
    return std::ranges::all_of(jobs_, [](const Job* job) { return job->cancelled(); });
  }

 private:
  std::vector<const Job*> jobs_;
};

// Without the lock: the jobs stay, since their sequences are in the scheduler. Returns the number of rows.
int64_t StepLoop::compute(const std::vector<Job*>& jobs) {
  const auto job_of = [&](const Sequence* sequence) { return *std::ranges::find(jobs, sequence, &Job::sequence); };
  StepPlan plan;
  try {
    draft(jobs);
    plan = scheduler_->next();
    InVain in_vain;
    for (const WorkItem& item : plan.items)
      in_vain.add(job_of(item.sequence));
    for (const EncodeItem& item : plan.encode)
      in_vain.add(job_of(item.sequence));
    const std::vector<StepLogits> rows = runner_->run(plan, &in_vain);
    scheduler_->commit(plan);
    for (auto first = rows.begin(); first != rows.end();) {
      const auto end =
          std::find_if(first, rows.end(), [&](const auto& row) { return row.sequence != first->sequence; });
      Job& job = *job_of(first->sequence);
      try {
        sample(job, {first, end});
      } catch (...) {  // its own fault: a grammar that grew too large
        job.error = std::current_exception();
      }
      first = end;
    }
    return std::transform_reduce(plan.items.begin(), plan.items.end(), int64_t{0}, std::plus<>(),
                                 [](const WorkItem& item) { return item.count; });
  } catch (const Interrupted&) {
    return 0;  // those who are gone are told so when the step is published
  } catch (...) {
    // Whoever was to be computed fails; without a plan it was the oldest that found no room.
    std::vector<Job*> failed;
    for (const WorkItem& item : plan.items)
      failed.push_back(job_of(item.sequence));
    for (const EncodeItem& item : plan.encode)
      failed.push_back(job_of(item.sequence));
    if (failed.empty()) failed.push_back(jobs.front());
    for (Job* job : failed)
      job->error = std::current_exception();
    return 0;
  }
}

bool StepLoop::is_stop(int32_t id) const {
  return std::ranges::find(stop_ids_, id) != stop_ids_.end();
}

void StepLoop::draft(const std::vector<Job*>& jobs) const {
  for (Job* job : jobs)
    job->sequence->guesses.clear();
  if (drafting_.drafter == nullptr || jobs.size() != 1) return;
  Job& job = *jobs.front();
  Sequence& sequence = *job.sequence;
  if (!job.sampler || sequence.pending() != 1 || sequence.computed == 0) return;
  const auto size = static_cast<int64_t>(sequence.tokens.size());
  int64_t most = std::min(job.pace.next(), job.room - 1);
  if (size <= drafting_.border) most = std::min(most, drafting_.border - size);
  if (most <= 0) return;
  std::vector<int32_t> guesses = drafting_.drafter->propose(sequence.tokens, most);
  // Nothing follows a stop id.
  guesses.erase(std::ranges::find_if(guesses, [&](int32_t id) { return is_stop(id); }), guesses.end());
  sequence.guesses = std::move(guesses);
}

// Each row gives a token as if it were the only one, and the next row counts if its guess was that token: drafts change
// neither what is sampled nor what is drawn for it.
void StepLoop::sample(Job& job, std::span<const StepLogits> rows) const {
  Sequence& sequence = *job.sequence;
  if (!job.sampler) {
    const StepLogits& row = rows.back();
    job.state = PromptState{{row.logits.begin(), row.logits.end()}, {row.hidden.begin(), row.hidden.end()}};
    job.ended = FinishReason::kStop;
    return;
  }
  job.drafted = static_cast<int64_t>(rows.size()) - 1;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto history = std::span(sequence.tokens).subspan(static_cast<size_t>(sequence.prompt_tokens));
    job.sampled.push_back(job.sampler->sample_token(rows[i].logits, history));
    const int32_t id = job.sampled.back().id;
    if (is_stop(id)) {
      job.sampled.pop_back();
      job.ended = FinishReason::kStop;
      break;
    }
    sequence.tokens.push_back(id);
    if (--job.room <= 0) job.ended = FinishReason::kLength;
    if (job.ended || i + 1 == rows.size() || sequence.guesses[i] != id) break;
    ++sequence.computed;
    ++job.accepted;
  }
  if (job.drafted > 0) job.pace.learn(job.drafted, job.accepted);
}

// Makes a step's result known to its caller.
void StepLoop::publish(Job& job) {
  job.begun = job.begun || !job.sampled.empty() || job.ended;
  std::ranges::move(job.sampled, std::back_inserter(job.fresh));
  job.sampled.clear();
  const int64_t drafted = std::exchange(job.drafted, 0), accepted = std::exchange(job.accepted, 0);
  job.sequence->drafted += drafted;
  job.sequence->accepted += accepted;
  stats_.drafted_tokens += drafted;
  stats_.accepted_tokens += accepted;
  if (job.ended) job.finished = job.ended;
  if (job.error) {  // what it holds may be all that the others lack
    job.finished = FinishReason::kStop;
    job.after = After::kRelease;
  }
  if (!job.finished && job.cancelled()) job.finished = FinishReason::kCancelled;
  if (job.finished || job.leaving) withdraw(job);
}

// At once where its caller does not want it any more: the others may need its blocks in the next step.
void StepLoop::withdraw(Job& job) {
  scheduler_->detach(*job.sequence);
  job.scheduled = false;
  take(*job.sequence, job.after);
}

// Its numbers stay behind.
void StepLoop::take(Sequence& sequence, After after) {
  const int64_t reused = sequence.reused;
  const double media_ms = sequence.media_ms;
  const int64_t drafted = sequence.drafted, accepted = sequence.accepted;
  if (after == After::kKeep) scheduler_->keep(sequence);
  if (after == After::kRelease) scheduler_->release(sequence);
  sequence.reused = reused;
  sequence.media_ms = media_ms;
  sequence.drafted = drafted;
  sequence.accepted = accepted;
}

void StepLoop::take_returned() {
  for (Returned& returned : returned_)
    take(returned.sequence, returned.after);
  returned_.clear();
}

// The turn is free: wakes all who have news, and one who will make the next step if they do not.
void StepLoop::pass_turn() {
  refresh_stats();
  turn_free_.notify_one();
  bool nudged = false;
  for (Job* job : jobs_) {
    if (!job->waiting) continue;
    if (!job->has_news() && std::exchange(nudged, true)) continue;
    job->ready.notify_one();
  }
}

}  // namespace minicpm
