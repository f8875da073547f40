//! Models of the lock-free parts, run by loom over every interleaving within a bound.
//!
//! Each file in `tests/` models one protocol of a leaf crate, or what waits in `runtime`. The code that runs
//! in a model is the production code: a leaf's `sync` module names loom's atomics under `--cfg loom` and the
//! standard library's otherwise. `runtime` uses sched-core's.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p loom-tests --target-dir target-loom
//! ```
//!
//! A model is trusted after it was seen to fail: `faults/` holds faults for each, and
//!
//! ```text
//! cargo run -p faults
//! ```
//!
//! plants them in a copy of the source, one at a time, and fails if a model overlooks one, or dies of something else.
//!
//! | model | promise |
//! |---|---|
//! | `alloc_central` | a span that its cache gives up is freed once, or found by one cache, with all its cells |
//! | `alloc_holes` | who makes holes in a listed span holds it alone; no live cell loses its contents, no freed one is lost |
//! | `alloc_large_cache` | the span of a freed large block is in one slot or one hand |
//! | `alloc_lend` | a thread's cache is used by the thread or by the scavenger, and nobody waits |
//! | `alloc_lock` | one holder at a time, who sees what the last one wrote |
//! | `alloc_marks` | a cell is marked by one; no mark is lost beside another, nor found from before the sweep |
//! | `alloc_pages` | a page is free in one place; the parts of the account add up whenever they are read |
//! | `alloc_remote` | a cell freed by another thread is found once, after all that was done to it |
//! | `alloc_scavenge` | a page that goes back is in one hand, and known to be zero only if it is |
//! | `alloc_set` | a span that is put back is taken once |
//! | `alloc_stirred` | memory that the scavenger has not met, somebody is told of |
//! | `alloc_sweep` | one sweeper per span and cycle, whoever acts on the one before or after; the next marks come after the last sweep |
//! | `alloc_thread` | a cache has one thread at a time; what others could use comes out of all but a few |
//! | `alloc_zeroed` | a block that is known to be zero is |
//! | `gc_cleanup` | no token lies in a queue beside a taker that sleeps, and none is the driver's to drop |
//! | `gc_counted` | a shared value goes once, after all that was done with it |
//! | `gc_cycle` | nobody reaches a cell that sweep has freed |
//! | `gc_handshake` | a handshake ends when every guard from before it is gone |
//! | `gc_helpers` | no more help to mark than may |
//! | `gc_lock` | one holder at a time; who waits is woken; no edge is lost under a lock; a once is set once, and seen whole |
//! | `gc_marks` | an object is looked into once; no mark is lost beside another |
//! | `gc_overflow` | what is marked and not looked into is found before marking ends |
//! | `gc_roots` | a clone keeps what the original kept, wherever the driver is in the table |
//! | `gc_weak` | an upgrade gives a living object, or none, and then none to anybody |
//! | `runtime_chan` | values come once and in order; none is lost at the end; whoever waits is told |
//! | `runtime_mutex` | one owner at a time; nobody sleeps beside a free one; whoever has waited long is next |
//! | `runtime_post` | a servant at a time; a request that comes while one ends or rests is served |
//! | `runtime_rings` | a ring is answered by all who listen, whenever it comes |
//! | `runtime_select` | one case of a `select!` wins, whoever decides it |
//! | `runtime_table` | a value found by its number is whole, and its only one; a walk finds whoever counts on it |
//! | `runtime_timer` | a fire is taken once, and never after a stop or a reset |
//! | `runtime_wait_group` | nobody sleeps beside a count of zero; what was done is seen |
//! | `sched_about` | a dump tells of one goroutine at a time, and of each that is there |
//! | `sched_bell` | a monitor does not sleep beside a P that is taken |
//! | `sched_block_on` | a wake between a poll and the park is heard, and brings what was done before it |
//! | `sched_entry` | a P has one holder, whoever takes it and wherever its goroutine goes, which runs or is looked for |
//! | `sched_future` | a future is polled after every wake, ends once, and its carrier is in one hand |
//! | `sched_idle` | no goroutine lies in a queue while all Ms sleep; no P waits for a thread beside one that sleeps |
//! | `sched_join` | a joiner is woken and sees the result, which one side drops; a handle that goes leaves no waiter |
//! | `sched_lull` | *all wait for ever* is said when it is so, and not before; a monitor sleeps over nobody who came to wait |
//! | `sched_lull_search` | the same of two threads and a goroutine that do whatever they can: every interleaving, without orderings |
//! | `sched_park` | who is made ready runs once, after its context was saved; an M's sleep and what it is woken for |
//! | `sched_queue` | each goroutine comes out of its queue once |
//! | `sched_resize` | the queues of a P that is one too many are emptied beside a thief |
//! | `sched_roster` | a record is in one hand; a walk meets each goroutine that is there, while others end and begin |
//! | `sched_shards` | nothing lies in any shard of a global queue while all Ms sleep, also in one that has just been made |
//! | `sched_swap` | the queues of a policy that is replaced are used by nobody when they are emptied; each goroutine in them runs once, none lies there beside sleepers |
//! | `sched_timer` | an earlier deadline wakes the timer thread; a timer fires or is cancelled; no look is lost |
//! | `sched_turnstile` | a scheduler ends when nobody is inside, and not before; closers that are inside wait for all but each other |
//! | `sysmon_alarm` | a monitor does not sleep beside an active machine |
//!
//! # What the allocator's models show
//!
//! Eleven protocols of Go's allocator, what is here in place of each, its model and its faults: the table *The
//! allocator's protocols in Go, and here* of `docs/orderings.md`.
//!
//! # What the collector's models show
//!
//! Twelve promises that a concurrent collector of Go's kind stands on, and where each is shown here. Faults
//! are in `faults/<model>`; those of the search are [`search::Fault`]s.
//!
//! | | promise | model or search | planted faults |
//! |---|---|---|---|
//! | 1 | what is reachable at the end of marking was marked, for mutators that load, store, drop roots and move pointers while a marker scans | `gc_cycle` (`start_…`, `end_…`), [`search`] | `no_deletion_part`, `no_hand_1`, `no_hand_2`, `root_cleared_unlogged`, `marks_of_before_the_sweep`, `taken_back_and_gone_on`; `NoDeletionLog`, `NoHandsBeforeRoots`, `OneHandBeforeRoots`, `NoHandOne`, `TakenBackAndGoneOn` |
//! | 2 | nobody is passed between the reading that decides a store and its log | `gc_handshake` (`an_operation_…`), `gc_cycle`, [`search`] | `passed_before_the_store`, `passed_before_the_log`, `passed_before_the_colour`, `operation_begins_relaxed`, `operation_seen_even`, `operation_without_fence`, `operation_ends_relaxed`; `PassedBeforeTheLog` |
//! | 3 | when marking ends nothing is grey, in whatever hand | `gc_cycle` (`end_with_two_moves`, `marking_together`), [`search`] | `no_hand_3`, `logs_not_drained_after_hand_3`, `emptiness_in_place_of_dirty`, `marked_and_not_dirty`, `done_while_another_is_busy`, `done_beside_a_batch`; `NoHandBeforeOff`, `EmptyQueueInPlaceOfDirty` |
//! | 4 | each marked object is looked into, once | `gc_marks`, `alloc_marks`, `gc_cycle` (`marking_together`) | `marked_by_load_and_store`, `marked_twice`, `drained_relaxed`; `the_line_is_forgotten`, `a_helper_is_not_counted` |
//! | | also if there is no room for it on a stack, and whoever is found by its mark is whole | `gc_overflow`, `gc_marks`, `alloc_marks`, [`search`] (`Start::Scarce`) | `nobody_is_told`, `forgotten_after_the_walk`, `a_store_tells_nobody`; `marked_relaxed`; `Overflow…`, `Marked…` |
//! | 5 | work that is stolen is not lost | `gc_cycle` (`marking_together`): batches go through one lock, there is no chain of rings | `a_share_is_dropped`, `done_beside_a_batch`, `a_helper_is_not_counted` |
//! | 6 | a stale hint loses no work | as 5: `Crew::is_short` decides who shares, never who is done | `a_hint_says_done` |
//! | 7 | a new object is whole and has its colour before anybody looks at it | `gc_cycle` (`a_new_object…`, `start_with_a_new_object`, `start_with_an_allocation`, `allocation_at_the_end`), [`search`] | `edge_stored_relaxed`, `edge_swapped_relaxed`, `edge_loaded_relaxed`, `coloured_before_it_is_written`, `log_written_relaxed`, `log_read_relaxed`, `allocation_white`, `white_before_step_5`, `black_before_step_5`, `two_readings`; `AllocateWhite`, `BlackBeforeMark`, `TwoReadings`, `SweepsTheCycleToCome` |
//! | 8 | an assist gives back what it does not mark | `gc_cycle` (`marking_with_an_assist`). There is no credit, so none is lost; nobody parks for it | `a_loan_is_not_counted`, `an_assist_keeps_the_rest` |
//! | 9 | no more helpers than Ps may be spared, also while that number falls | `gc_helpers` | `a_look_and_a_step`, `one_goes_twice` |
//! | 10 | a weak pointer leads to a living object or to nobody, and all agree | `gc_weak`, [`search`] (`Start::Weak`) | `upgrade_by_reading`, `upgrade_unlogged`, `off_is_alive`, `emptied_…`, `not_met`, `sifted_the_wrong_way`, `marking_ends_unsifted`; `UpgradeByReading`, `UpgradeUnlogged` |
//! | 11 | no token lies beside a taker that sleeps, and none is left to the driver; no entry outlives its object | `gc_cleanup` | `looks_and_then_waits`, `waiters_out_before_tokens_in`, `closed_in_two_steps`, `sifted_before_hand_2` |
//! | 12 | roots are shaded when everybody logs; one that is made later needs no scan | `gc_cycle` (`start_…`), `gc_roots`, [`search`] | `no_hand_1`, `no_hand_2`, `root_cleared_unlogged`; `cleared_unlogged`, `a_later_chunk_is_not_listed`; `NoHandsBeforeRoots` |
//! | | no edge is lost under a lock, and the marker waits for none | `gc_lock` (`a_move_under_locks`), [`search`] (`Start::Locked`) | `nothing_is_reported`, `reports_are_not_waited_for`, `report_leaves_the_word_clean`; `LockReportedOnce`, `ReportsNotWaitedFor` |
//! | | whoever asks for a cycle finds a servant that sees it, or starts one, or knows that he could not | `runtime_post` | all of it |
//! | | sweep comes after the last who acts on the old word | `gc_cycle` (`allocation_at_the_end`), [`search`] | `no_hand_4`; `NoHandBeforeSweep` |
//!
//! # What the models of the scheduler and of waiting show
//!
//! What a scheduler of Go's kind stands on, and what waits on top of it. The faults named are in
//! `faults/<model>`.
//!
//! | | promise | tests | planted faults |
//! |---|---|---|---|
//! | S1 | each goroutine is taken once, by owner or thief, over laps of the ring | `sched_queue` (`each_goroutine…`, `a_slow_thief…`, both of the deque) | `claim_without_cas`, `head_relaxed`, `tail_relaxed`, `slot_after_tail`, `deque_*` |
//! | S2 | half of a full ring moves beside a thief | `sched_queue` (`overflow_and_theft…`) | `half_without_cas` |
//! | | GOMAXPROCS shrinks against a theft: what lay on the P that goes runs once | `sched_resize` | `evicted_without_a_claim`, `shed_in_silence`, `handed_over_in_silence` |
//! | S3 | runnext has one taker, who sees what he took | `sched_queue` (`runnext…`) | `push_next_load_store`, `push_next_relaxed`, `runnext_load_store` |
//! | S4 | a queue with one in it is not empty | `sched_queue` (`a_queue_with_one…`) | `empty_reads_tail_once` |
//! | S5 | nothing lies in a queue while all sleep, also while the policy or the number of Ps changes | `sched_idle` (`the_last_spinner…`, `two_submitters…`, `a_retired_spinner…`), `sched_shards`, `sched_swap` (`the_last_look…`, `what_is_moved…`, `who_does_not_move…`, `who_sits…`), `sched_resize` | `no_push_fence`, `no_sleep_fence`, `retire_after_the_last_look`, `surplus_*`; all of `sched_shards`; `in_office_before_leaving`, `old_queues_first`, `moved_in_silence`, `shut_in_silence`, `not_rescued`, `rescued_from_where_it_sits` |
//! | S6 | also without an idle P at the submission | `sched_idle` (`a_proc_given_up…`, `a_submitter_may…`, `a_retired_proc…`) | `need_ignored`, `retire_keeps_need`, `surplus_clears_need` |
//! | S7 | spinners are counted right, and submitters start one at a time | `sched_idle` (`the_idle_proc…`, `submitters_at_once…`, and all others at rest) | `no_decrement`, `no_need_when_taken`, `covered_once_is_enough` |
//! | S8 | a P has one holder, and its goroutine runs or is looked for: entry against a take, against a second taker, against the goroutine's move | `sched_entry` | `no_light_fence`, `no_heavy_fence`, `no_membarrier`, `still_same_*`, `two_take_locks`, `taken_twice`, `nothing_but_proc_compared`, `owner_does_not_wait`, `handed_over_beside_who_waits` |
//! | S9 | a goroutine made ready runs once, after its context was saved, also when that came before the commit | `sched_park` (`a_ready_…`, `two_readies…`, `who_gives_way…`) | `commit_before_save`, `gives_way_uncommitted`, `notified_counts_as_parked`, `commit_forgets_permit`, `commit_load_store`, `begin_park_ignores_permit`, `unpark_*` |
//! | | a result has one owner, and a joiner that waits is woken | `sched_join` | all of `sched_join` |
//! | | a dump reads stacks that are saved, and stand still | `sched_park` (`a_ready_under…`, `a_watched_one…`) | `claim_*`, `watch_*`, `resume_waits_for_nobody`, `new_is_watched`, `stays_and_is_watched` |
//! | S10 | nobody is stopped. What took the place of a stop: a handshake that ends when each guard from before it is gone, and the end of a scheduler, when nobody is inside | `gc_handshake`, `sched_turnstile` | all of both |
//! | S11 | an M's sleep keeps a wake that came before it, and the order that came with the wake; nobody wakes for nothing | `sched_park` (`a_wake_before…`, `an_order…`) | `parker_clears_after_check`, `parker_wakes_nobody`, `parker_relaxed`, `permit_before_the_order`, `order_read_before_the_sleep` |
//! | S12 | all asleep is not said while an M is ordered | `sched_idle` (`an_ordered_machine…`) | `counted_when_started` |
//! | | a deadlock is told of when there is one, and only then | `sched_lull`, `sched_lull_search` | all of both |
//! | | who is there is in the list of goroutines, on a record of its own | `sched_roster`, `sched_about` | all of both |
//! | S13 | timers and work are seen before the last spinner sleeps. Work: S5. No M sleeps for a deadline: the timer thread does (R1), and submits whom it wakes | `sched_idle` (`a_timer_beside…`) | `told_before_it_fires` |
//! | | a P that waits for a thread gets one | `sched_idle` (`an_order_and_a_sleeper…`) | `rest_*`, `order_placed_without_a_look` |
//! | | a goroutine lies in one of two policies' queues, and runs once | `sched_swap` | all of `sched_swap` |
//! | | a carrier that rests is in one hand: taken, dismissed, or at its end | `sched_future` (`who_rests…`) | `taken_in_two_steps`, `closed_in_two_steps`, `rests_without_its_content` |
//! | | a carrier whose poll has parked goes on with it, and the next future gets another | `sched_park` (`a_poll…`) | `parked_counts_as_resting` |
//! | R1 | an earlier deadline wakes who sleeps for a later one | `sched_timer`, `runtime_timer` (`who_waits…`), `runtime_select` (`a_reset…`) | `earlier_is_not_told`, `turn_*`, `armed_after_the_lock`; `reset_tells_nobody`, `queued_without_a_look`; `a_reset_tells_nobody` |
//! | R2 | a timer fires or is called off; no fire of before a stop or a reset | `sched_timer` (`a_timer_fires…`), `runtime_timer` | `cancel_checks_before_the_lock`; `fires_twice`, `stopped_in_two_steps`, `reset_leaves_the_fire` |
//! | R3 | readiness of a descriptor: there is no netpoller; whoever blocks in the kernel loses its P (S8) | | |
//! | R4 | of many who ask the timer thread for a look each is seen to | `sched_timer` (`a_look…`) | `look_cleared_after_it`, `look_not_armed` |
//! | R5 | channels: first in, first out; no value lost, at the end, at a deadline or with a dropped future; one case of a `select!` wins | `runtime_chan`, `runtime_select` | all of both |
//! | R6 | nobody sleeps beside what it waits for | `runtime_mutex` (`one_owner…`), `runtime_wait_group` | `queued_*`, `woken_stays`; `waits_without_a_look`, `done_tells_without_the_lock` |
//! | R7 | the mutex: exclusion, no lost wake, first in first out once somebody has waited long, and back | `runtime_mutex` | `try_relaxed`, `unlock_*`, `handed_over_unlocked`, `nothing_is_handed_over`, `woken_in_vain_goes_last` |
//! | R8 | there is no condition with tickets; what wakes many at once is a wait group, a closing, a reset: it wakes those who waited, and all | `runtime_wait_group`, `runtime_chan` (`the_end…`) | `tells_one`, `closing_tells_one` |
//! | R9 | there is no bubble: virtual time is the simulator's, which has one thread | | |
//!
//! `docs/orderings.md` lists the handshakes, each with its words, its fences and its model.
//!
//! Beside them stands a search of the collector's protocol as a whole, without orderings: [`search`].
//!
//! Without `--cfg loom` the models are left out, and one test says how to run them.

#[cfg(all(loom, feature = "alloc"))]
pub mod memory;
#[cfg(loom)]
pub mod parcel;
#[cfg(not(loom))]
pub mod search;
#[cfg(all(loom, feature = "alloc"))]
pub mod span;
#[cfg(all(loom, feature = "sched"))]
pub mod task;
#[cfg(all(loom, feature = "gc"))]
pub mod tiny;

/// Runs `body` under loom in every interleaving with at most `preemptions` involuntary switches.
///
/// `LOOM_MAX_PREEMPTIONS` in the environment overrides the bound, so that a longer search needs
/// no change of the source.
#[cfg(loom)]
pub fn model(name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    const { assert!(cfg!(debug_assertions), "models check debug assertions: no --release") };
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    if std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
        builder.preemption_bound = Some(preemptions);
    }
    let executions = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (counter, began) = (executions.clone(), std::time::Instant::now());
    builder.check(move || {
        // Relaxed: a count; executions follow one another.
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        body();
    });
    eprintln!(
        "model {name}: {} executions, {:.1} s, bound {:?}",
        // Relaxed: as above.
        executions.load(std::sync::atomic::Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
        builder.preemption_bound,
    );
}
