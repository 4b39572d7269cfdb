//! A small thread pool for loops inside kernels.
//!
//! [`parallel_for`] cuts a range into chunks that the caller and the pool's workers claim one by one: the caller from the
//! front, the workers from the back, so that with two threads each one meets the same data again at the next call. A worker
//! without work spins for some tens of microseconds, and then sleeps. A new loop is handed to the first workers that spin, by a
//! write to a place that each watches; this takes a quarter of a microsecond. Only where more could help is it listed, under a
//! lock, for those that are busy or asleep.
//!
//! Any number of threads may start loops on one pool at the same time: each makes progress by itself, and the workers help
//! where the fewest help already. A loop started inside a loop runs on its own thread, one started inside a task of
//! [`side_by_side`] is helped with by threads that are free. A panic in a chunk stops the handing out of further chunks and
//! goes on in the caller.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{null, without_provenance};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};

/// How often a worker looks for new work before it sleeps: some tens of microseconds.
const SPINS_BEFORE_SLEEP: usize = 2000;

/// How often a caller looks whether the last worker has left its loop before it sleeps.
const SPINS_BEFORE_PARK: usize = 20_000;

/// Chunks for each thread, unless the grain forbids: enough for a late worker to find some left.
const CHUNKS_PER_THREAD: usize = 4;

/// A loop is handed to at most so many workers one by one; each costs its caller a tenth of a microsecond.
const MOST_HANDED: usize = 4;

/// Set in [`Job::helpers`] when the caller sleeps until the last helper wakes it.
const CALLER_PARKED: usize = 1 << (usize::BITS - 1);

/// A set of threads that help with loops. Dropping it ends the threads.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    threads: usize,
    /// One for each worker.
    places: Box<[Place]>,
    /// Counts the jobs published so far; what idle workers watch.
    published: AtomicUsize,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    jobs: Vec<JobPointer>,
    sleeping: usize,
    shut_down: bool,
}

/// Where a worker that spins is handed a job, in a cache line of its own.
#[repr(align(128))]
struct Place {
    /// Null as long as the worker takes none, [`waiting`], or the job.
    job: AtomicPtr<Job<'static>>,
}

/// What stands in the place of a worker that waits for a job: an address where none is.
fn waiting() -> *mut Job<'static> {
    without_provenance::<Job>(1).cast_mut()
}

/// One loop, on its caller's stack until no helper is left in it. What a worker needs to begin is one cache line.
#[repr(C, align(64))]
struct Job<'a> {
    body: &'a (dyn Fn(Range<usize>) + Sync),
    items: usize,
    chunk: usize,
    /// The unclaimed chunks: the first in the low half, one past the last in the high half. Either may go past the other.
    unclaimed: AtomicU64,
    /// The workers inside, and [`CALLER_PARKED`].
    helpers: AtomicUsize,
    /// The chunks are tasks, whose own loops may be shared.
    tasks: bool,
    /// The caller, if it is parked.
    parked: Mutex<Option<Thread>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

#[derive(Clone, Copy, PartialEq)]
struct JobPointer(*const Job<'static>);

// SAFETY: a job is shared between threads by design; its caller keeps it alive while it is listed or has helpers.
unsafe impl Send for JobPointer {}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    /// A pool whose loops run on up to `threads` threads: the caller's and `threads - 1` workers.
    ///
    /// Where the system refuses a thread, the pool makes do with those that it got.
    pub fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared {
            threads: threads.max(1),
            places: (1..threads).map(|_| Place { job: AtomicPtr::default() }).collect(),
            published: AtomicUsize::new(0),
            state: Mutex::new(State { jobs: Vec::new(), sleeping: 0, shut_down: false }),
            wake: Condvar::new(),
        });
        let spawn = |index: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("metagraph-{index}")).spawn(move || shared.work(index - 1)).ok()
        };
        let workers = (1..threads).map_while(spawn).collect();
        Pool { shared, workers }
    }

    /// The pool of the process, made at first use with [`default_threads`] threads.
    pub fn global() -> &'static Pool {
        static GLOBAL: OnceLock<Pool> = OnceLock::new();
        GLOBAL.get_or_init(|| Pool::new(default_threads()))
    }

    /// How many threads a loop runs on at most.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.shut_down = true;
        // Within the lock, so that a worker that has seen this number sees `shut_down` too.
        self.shared.published.fetch_add(1, Ordering::Release);
        drop(state);
        self.shared.wake.notify_all();
        let this_thread = thread::current().id();
        for worker in self.workers.drain(..).filter(|worker| worker.thread().id() != this_thread) {
            // A worker ends without panic: loop bodies are caught.
            let _ = worker.join();
        }
    }
}

/// The threads of the global pool: `METAGRAPH_NUM_THREADS` if it is a positive number, else the available cores.
pub fn default_threads() -> usize {
    let set = std::env::var("METAGRAPH_NUM_THREADS").ok().and_then(|text| text.trim().parse::<usize>().ok());
    match set {
        Some(threads) if threads > 0 => threads,
        _ => thread::available_parallelism().map_or(1, usize::from),
    }
}

/// While it lives, loops started by this thread use a certain pool.
pub struct Entered {
    previous: Option<Arc<Shared>>,
    not_send: PhantomData<*const ()>,
}

/// Makes a pool the current one of this thread, until the guard is dropped.
#[must_use]
pub fn enter(pool: &Pool) -> Entered {
    let previous = CURRENT.replace(Some(Arc::clone(&pool.shared)));
    Entered { previous, not_send: PhantomData }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.previous.take());
    }
}

/// How many threads a loop started here would run on at most: 1 inside of a loop.
pub fn current_threads() -> usize {
    if INSIDE.get() { 1 } else { with_current(|shared| shared.threads) }
}

fn with_current<R>(f: impl FnOnce(&Shared) -> R) -> R {
    match CURRENT.with_borrow(Option::clone) {
        Some(shared) => f(&shared),
        None => f(&Pool::global().shared),
    }
}

/// Calls `body` with ranges that together make up `0..items`, each once, on the current pool and this thread.
///
/// A range has at least `grain` items (the last one may have fewer); `grain` is to be so large that one range takes longer
/// than the half of a microsecond in which it is handed over and taken back. With less than two grains the body runs once, here.
#[inline]
pub fn parallel_for<F: Fn(Range<usize>) + Sync>(items: usize, grain: usize, body: F) {
    distribute(items, grain, &body);
}

/// Not generic, so that a body is compiled once, whether it runs here or in parts.
fn distribute(items: usize, grain: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
    if items == 0 {
        return;
    }
    if items <= grain || INSIDE.get() {
        return body(0..items);
    }
    with_current(|shared| {
        let wanted = (shared.threads * CHUNKS_PER_THREAD).min(u32::MAX as usize);
        let chunk = items.div_ceil(wanted).max(grain);
        if shared.threads == 1 || chunk >= items { body(0..items) } else { shared.run(items, chunk, false, body) }
    });
}

/// Calls `task` with each number below `count`, as many at the same time as there are threads. What one takes may be much
/// more than what another one takes: a thread without a task helps with the loops within the others.
pub fn side_by_side<F: Fn(usize) + Sync>(count: usize, task: F) {
    let all = |range: Range<usize>| range.for_each(&task);
    if count < 2 || INSIDE.get() {
        return all(0..count);
    }
    with_current(|shared| if shared.threads == 1 { all(0..count) } else { shared.run(count, 1, true, &all) });
}

/// Cuts `data` into pieces of whole `unit`s, at least `grain` units each, and calls `body` with each piece's first unit's
/// index and the piece, as [`parallel_for`] does. A last unit may be cut short.
pub fn parallel_pieces<T: Send, F: Fn(usize, &mut [T]) + Sync>(data: &mut [T], unit: usize, grain: usize, body: F) {
    let length = data.len();
    let unit = unit.max(1);
    let pointer = SharedMut(data.as_mut_ptr());
    parallel_for(length.div_ceil(unit), grain, |units| {
        let (start, end) = (units.start * unit, (units.end * unit).min(length));
        // SAFETY: the ranges of units don't overlap and lie in the data, which stays borrowed until the loop ends.
        body(units.start, unsafe { std::slice::from_raw_parts_mut(pointer.get().add(start), end - start) });
    });
}

/// A pointer that the chunks of a loop share, each for its own part.
pub(crate) struct SharedMut<T>(pub *mut T);

// SAFETY: the pointer is only an address; who writes through it keeps to the chunk's own part.
unsafe impl<T: Send> Send for SharedMut<T> {}
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T> SharedMut<T> {
    pub fn get(&self) -> *mut T {
        self.0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a loop of more than one chunk: hands it over, works on it, and returns when no helper is left in it.
    fn run(&self, items: usize, chunk: usize, tasks: bool, body: &(dyn Fn(Range<usize>) + Sync)) {
        let chunks = items.div_ceil(chunk);
        let job = Job {
            body,
            items,
            chunk,
            unclaimed: AtomicU64::new((chunks as u64) << 32),
            helpers: AtomicUsize::new(0),
            tasks,
            parked: Mutex::default(),
            panic: Mutex::default(),
        };
        let pointer = JobPointer((&raw const job).cast());
        let wanted = (chunks - 1).min(self.places.len());
        let handed = self.hand_over(pointer, wanted.min(MOST_HANDED));
        let is_listed = handed < wanted;
        if is_listed {
            self.list(pointer, wanted - handed);
        }
        INSIDE.set(!tasks);
        job.work(false);
        INSIDE.set(false);
        if is_listed {
            self.lock().jobs.retain(|listed| *listed != pointer);
        }
        if tasks {
            self.help_until_left(&job)
        } else {
            job.wait()
        }
        let panic = job.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    /// Lists a job for workers that are busy, and wakes up to `most` that sleep.
    fn list(&self, job: JobPointer, most: usize) {
        let sleeping = {
            let mut state = self.lock();
            state.jobs.push(job);
            self.published.fetch_add(1, Ordering::Release);
            state.sleeping
        };
        for _ in 0..sleeping.min(most) {
            self.wake.notify_one();
        }
    }

    /// Hands a job to up to `most` workers that spin, who are then counted as its helpers; how many these are.
    fn hand_over(&self, JobPointer(job): JobPointer, most: usize) -> usize {
        // SAFETY: the caller keeps the job until its helpers have left.
        let helpers = unsafe { &(*job).helpers };
        let mut handed = 0;
        for place in &self.places {
            if handed == most {
                break;
            }
            // Counted before it can begin. Release: it sees the job.
            helpers.fetch_add(1, Ordering::Relaxed);
            match place.job.compare_exchange(waiting(), job.cast_mut(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => handed += 1,
                Err(_) => drop(helpers.fetch_sub(1, Ordering::Relaxed)),
            }
        }
        handed
    }

    /// What a worker does until the pool is shut down.
    fn work(self: Arc<Shared>, index: usize) {
        CURRENT.set(Some(Arc::clone(&self)));
        while let Some(job) = self.next_job(&self.places[index].job) {
            self.help(job);
        }
    }

    /// Works on a job in which this thread is counted as a helper.
    fn help(&self, JobPointer(job): JobPointer) {
        // SAFETY: the thread is counted as a helper, so the caller keeps the job until `leave`.
        let tasks = unsafe {
            let tasks = (*job).tasks;
            INSIDE.set(!tasks);
            (*job).work(true);
            INSIDE.set(false);
            Job::leave(job);
            tasks
        };
        if tasks {
            // The caller may sleep where those without work do.
            drop(self.lock());
            self.wake.notify_all();
        }
    }

    /// Waits, in the caller, until the last helper has left a job of tasks, and helps with loops meanwhile.
    fn help_until_left(&self, job: &Job) {
        loop {
            let seen = self.published.load(Ordering::Acquire);
            if job.helpers.load(Ordering::Acquire) == 0 {
                return;
            }
            let other = self.lock().pick(false);
            if let Some(other) = other {
                self.help(other);
                continue;
            }
            let news = || self.published.load(Ordering::Relaxed) != seen || job.helpers.load(Ordering::Relaxed) == 0;
            if !spin(SPINS_BEFORE_SLEEP, news) {
                self.sleep_until(news);
            }
        }
    }

    /// A job in which this thread is counted as a helper; waits for one. None when the pool is shut down.
    fn next_job(&self, place: &AtomicPtr<Job<'static>>) -> Option<JobPointer> {
        loop {
            let seen = self.published.load(Ordering::Acquire);
            {
                let state = self.lock();
                if state.shut_down {
                    return None;
                }
                if let Some(job) = state.pick(true) {
                    return Some(job);
                }
            }
            place.store(waiting(), Ordering::Relaxed);
            let is_handed = || place.load(Ordering::Relaxed) != waiting();
            let is_news = || self.published.load(Ordering::Relaxed) != seen;
            let found = spin(SPINS_BEFORE_SLEEP, || is_handed() || is_news());
            // Acquire: it sees the job.
            let job = place.swap(null::<Job>().cast_mut(), Ordering::Acquire);
            if job != waiting() {
                return Some(JobPointer(job));
            }
            if !found {
                self.sleep_until(is_news);
            }
        }
    }

    /// Sleeps until there is news.
    fn sleep_until(&self, news: impl Fn() -> bool) {
        let mut state = self.lock();
        while !news() {
            state.sleeping += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeping -= 1;
        }
    }
}

impl State {
    /// Enters, as a helper, the job with work left that has the fewest helpers; one of tasks only if `tasks`.
    fn pick(&self, tasks: bool) -> Option<JobPointer> {
        // SAFETY: a listed job is alive: its caller takes it off the list, under the lock held here, before it returns.
        let jobs = self.jobs.iter().map(|pointer| (pointer, unsafe { &*pointer.0 }));
        let (pointer, job) = jobs
            .filter(|(_, job)| job.has_unclaimed() && (tasks || !job.tasks))
            .min_by_key(|(_, job)| job.helpers.load(Ordering::Relaxed))?;
        job.helpers.fetch_add(1, Ordering::Relaxed);
        Some(*pointer)
    }
}

impl Job<'_> {
    /// The first unclaimed chunk and one past the last.
    fn ends(unclaimed: u64) -> (i32, i32) {
        (unclaimed as i32, (unclaimed >> 32) as i32)
    }

    fn has_unclaimed(&self) -> bool {
        let (first, end) = Self::ends(self.unclaimed.load(Ordering::Relaxed));
        first < end
    }

    /// Takes a chunk off the front or the back of the unclaimed ones.
    fn claim(&self, from_back: bool) -> Option<usize> {
        // One instruction, even where none is left: an end goes past the other then, once for each thread.
        let before = match from_back {
            true => self.unclaimed.fetch_sub(1 << 32, Ordering::Relaxed),
            false => self.unclaimed.fetch_add(1, Ordering::Relaxed),
        };
        let (first, end) = Self::ends(before);
        (first < end).then_some(if from_back { end - 1 } else { first } as usize)
    }

    /// Runs chunks until none is left.
    fn work(&self, from_back: bool) {
        let done = catch_unwind(AssertUnwindSafe(|| {
            while let Some(index) = self.claim(from_back) {
                let start = index * self.chunk;
                (self.body)(start..(start + self.chunk).min(self.items));
            }
        }));
        if let Err(payload) = done {
            self.unclaimed.store(0, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
        }
    }

    /// Waits, in the caller, until the last helper has left. The job is off the list, so none can enter.
    fn wait(&self) {
        if spin(SPINS_BEFORE_PARK, || self.helpers.load(Ordering::Acquire) == 0) {
            return;
        }
        *self.parked.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current());
        self.helpers.fetch_or(CALLER_PARKED, Ordering::AcqRel);
        while self.helpers.load(Ordering::Acquire) != CALLER_PARKED {
            thread::park();
        }
    }

    /// A helper's last act on a job, which may be gone right after.
    ///
    /// # Safety
    /// The thread is counted as a helper of the job.
    unsafe fn leave(job: *const Self) {
        // SAFETY: the caller waits as long as this thread is counted.
        let (helpers, parked) = unsafe { (&(*job).helpers, &(*job).parked) };
        let mut inside = helpers.load(Ordering::Relaxed);
        while inside & CALLER_PARKED == 0 {
            // Nothing of the job is touched after this.
            match helpers.compare_exchange_weak(inside, inside - 1, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => inside = now,
            }
        }
        // The caller's handle outlives the job.
        let caller = parked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if helpers.fetch_sub(1, Ordering::AcqRel) == CALLER_PARKED | 1
            && let Some(caller) = caller
        {
            caller.unpark();
        }
    }
}

/// Looks up to `times` whether something holds, and tells whether it did.
fn spin(times: usize, holds: impl Fn() -> bool) -> bool {
    (0..times).any(|_| {
        std::hint::spin_loop();
        holds()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    fn check_covers(items: usize, grain: usize) {
        let counts: Vec<AtomicU32> = (0..items).map(|_| AtomicU32::new(0)).collect();
        parallel_for(items, grain, |range| {
            assert!(!range.is_empty());
            for count in &counts[range] {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{items} items, grain {grain}");
    }

    /// A loop of two chunks that wait for one another: it ends only with the help of a second thread.
    fn check_gets_help() {
        let barrier = std::sync::Barrier::new(2);
        parallel_for(2, 1, |_| {
            barrier.wait();
        });
    }

    #[test]
    fn every_item_is_visited_once() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            let _entered = enter(&pool);
            for items in [0, 1, 2, 3, 7, 8, 9, 31, 100, 1000] {
                for grain in [0, 1, 2, 10, 1000] {
                    check_covers(items, grain);
                }
            }
        }
    }

    #[test]
    fn many_callers_share_a_pool() {
        let pool = Pool::new(3);
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let _entered = enter(&pool);
                    (0..200).for_each(|round| check_covers(round, 1));
                });
            }
        });
    }

    #[test]
    fn loops_after_a_sleep_get_help() {
        let pool = Pool::new(2);
        let _entered = enter(&pool);
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(5));
            check_gets_help();
        }
    }

    #[test]
    fn nested_loops_run_inline() {
        let pool = Pool::new(4);
        let _entered = enter(&pool);
        let total = AtomicUsize::new(0);
        parallel_for(8, 1, |outer| {
            let this_thread = thread::current().id();
            assert_eq!(current_threads(), 1);
            parallel_for(100, 1, |inner| {
                assert_eq!(thread::current().id(), this_thread);
                total.fetch_add(inner.len() * outer.len(), Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner(), 800);
        assert_eq!(current_threads(), 4);
    }

    #[test]
    fn tasks_share_their_loops() {
        let pool = Pool::new(2);
        let _entered = enter(&pool);
        for round in 0..50 {
            // The second task's loop ends only with the help of the thread that is done with the first one.
            side_by_side(2, |task| {
                if task == 1 {
                    assert_eq!(current_threads(), 2);
                    check_gets_help();
                } else if round % 2 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let caught = catch_unwind(|| side_by_side(3, |task| assert!(task != 1, "task {task}")));
        assert!(caught.is_err());
        check_covers(64, 1);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        let _entered = enter(&pool);
        for bad in [0, 7, 63] {
            let caught = catch_unwind(|| parallel_for(64, 1, |range| assert!(!range.contains(&bad), "item {bad}")));
            let payload = caught.expect_err("the loop panics");
            assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some(format!("item {bad}").as_str()));
            check_covers(64, 1);
        }
    }

    #[test]
    fn guards_nest() {
        let (two, three) = (Pool::new(2), Pool::new(3));
        let outer = enter(&two);
        {
            let _inner = enter(&three);
            assert_eq!(current_threads(), 3);
        }
        assert_eq!(current_threads(), 2);
        drop(outer);
        assert_eq!(current_threads(), Pool::global().threads());
    }

    #[test]
    fn pieces_are_whole_units() {
        let pool = Pool::new(2);
        let _entered = enter(&pool);
        for (length, unit) in [(0, 3), (1, 3), (3, 3), (100, 7), (64, 1)] {
            let mut data = vec![usize::MAX; length];
            parallel_pieces(&mut data, unit, 1, |first, piece| {
                piece.iter_mut().enumerate().for_each(|(i, value)| *value = first + i / unit);
            });
            let expected: Vec<usize> = (0..length).map(|i| i / unit).collect();
            assert_eq!(data, expected);
        }
    }
}
