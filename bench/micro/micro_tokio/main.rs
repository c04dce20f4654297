//! The small things that Tokio has, too, as its users would write them; what an operation is stands in the file of each
//! scenario. Without arguments it says what there is; `NAME SECONDS` measures one.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, Mutex, RwLock, Semaphore};
use tokio::task::{spawn, spawn_blocking, yield_now, JoinHandle};
use tokio::time::{sleep, sleep_until, timeout};

const HOUR: Duration = Duration::from_secs(3600);

/// Of one operation.
struct Figures {
    ns: f64,
    bytes: Option<f64>,
}

fn loops(count: usize) -> Runtime {
    let mut builder = if count == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if count > 1 {
        builder.worker_threads(count);
    }
    builder.enable_time().build().expect("a runtime")
}

/// The time of one operation, in batches that grow until one takes that long. `batch(n)` does something n times and
/// gives how many operations that were. It runs as a task of its own, or what it does would be the main thread's, which
/// is no worker of a runtime of two.
fn timed<F, B>(seconds: f64, threads: usize, batch: B) -> Figures
where
    B: Fn(usize) -> F,
    F: Future<Output = usize> + Send + 'static,
{
    let runtime = loops(threads);
    let mut n = 1;
    let measure = |n| {
        let start = Instant::now();
        let operations = runtime.block_on(runtime.spawn(batch(n))).expect("a batch that ends well");
        (start.elapsed().as_secs_f64(), operations)
    };
    measure(1);
    loop {
        let (taken, operations) = measure(n);
        if taken >= seconds {
            return Figures { ns: taken * 1e9 / operations as f64, bytes: None };
        }
        n = 1 + (n as f64 * (1.2 * seconds / taken.max(1e-9)).min(100.0)) as usize;
    }
}

fn scaled(full: usize) -> usize {
    let scale = std::env::var("WEFT_BENCH_SCALE").ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0);
    if scale > 0.0 && scale <= 1.0 { ((full as f64 * scale) as usize).max(full.min(1000)) } else { full }
}

// --- tasks ---

async fn yields(n: usize) -> usize {
    let stop = Arc::new(AtomicBool::new(false));
    let other = spawn({
        let stop = stop.clone();
        async move {
            while !stop.load(Relaxed) {
                yield_now().await;
            }
        }
    });
    for _ in 0..n {
        yield_now().await;
    }
    stop.store(true, Relaxed);
    other.await.expect("the other one");
    2 * n
}

async fn spawn_join(n: usize) -> usize {
    let mut sum = 0;
    for _ in 0..n {
        sum += spawn(async { 1 }).await.expect("a task");
    }
    assert_eq!(sum, n, "not every task ran once");
    n
}

/// So many at once, n times.
async fn together(n: usize, count: usize) -> usize {
    let mut sum = 0;
    for _ in 0..n {
        let all: Vec<JoinHandle<usize>> = (0..count).map(|_| spawn(async { 1 })).collect();
        for task in all {
            sum += task.await.expect("a task");
        }
    }
    assert_eq!(sum, n * count, "not every task ran once");
    n * count
}

async fn blocking(n: usize) -> usize {
    let mut sum = 0;
    for _ in 0..n {
        sum = spawn_blocking(move || sum + 1).await.expect("a call");
    }
    assert_eq!(sum, n, "a call gave something else");
    n
}

const FAN: usize = 10;

fn tree(first: usize, size: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
    Box::pin(async move {
        if size == 1 {
            return first;
        }
        let size = size / FAN;
        let children: Vec<JoinHandle<usize>> = (0..FAN).map(|i| spawn(tree(first + i * size, size))).collect();
        let mut sum = 0;
        for child in children {
            sum += child.await.expect("a child");
        }
        sum
    })
}

async fn skynet(n: usize) -> usize {
    let mut leaves = FAN;
    while leaves * FAN <= scaled(1_000_000) {
        leaves *= FAN;
    }
    for _ in 0..n {
        assert_eq!(tree(0, leaves).await, leaves * (leaves - 1) / 2, "the sum of the leaves is wrong");
    }
    n * leaves
}

// --- channels ---

async fn round_trips(n: usize) -> usize {
    let (to, mut asked) = mpsc::channel::<usize>(1);
    let (answer, mut from) = mpsc::channel::<usize>(1);
    let other = spawn(async move {
        while let Some(value) = asked.recv().await {
            answer.send(value + 1).await.expect("somebody who asks");
        }
    });
    let mut value = 0;
    for _ in 0..n {
        to.send(value).await.expect("somebody who answers");
        value = from.recv().await.expect("an answer");
    }
    drop(to);
    other.await.expect("the other one");
    assert_eq!(value, n, "a value was lost");
    n
}

async fn without_wait(n: usize) -> usize {
    let (sender, mut receiver) = mpsc::channel(1);
    let mut value = 0;
    for _ in 0..n {
        sender.send(value + 1).await.expect("a receiver");
        value = receiver.recv().await.expect("a value");
    }
    assert_eq!(value, n, "a value was lost");
    n
}

// --- locks ---

async fn uncontended(n: usize) -> usize {
    let sum = Mutex::new(0);
    for _ in 0..n {
        *sum.lock().await += 1;
    }
    assert_eq!(sum.into_inner(), n, "a round was lost");
    n
}

async fn uncontended_shared(n: usize) -> usize {
    let one = RwLock::new(1);
    let mut sum = 0;
    for _ in 0..n {
        sum += *one.read().await;
    }
    assert_eq!(sum, n, "a round was lost");
    n
}

async fn uncontended_semaphore(n: usize) -> usize {
    let semaphore = Semaphore::new(1);
    for _ in 0..n {
        drop(semaphore.acquire().await.expect("a permit"));
    }
    n
}

/// Held shortly, with a yield now and then; held over a yield, so that it is handed on; or held shortly by those that
/// never yield.
#[derive(Clone, Copy, PartialEq)]
enum Hold {
    Shortly,
    OverAYield,
    WithoutYield,
}

async fn contended(n: usize, contenders: usize, how: Hold) -> usize {
    let sum = Arc::new(Mutex::new(0));
    let contend = |sum: Arc<Mutex<usize>>| async move {
        for i in 0..n {
            {
                let mut held = sum.lock().await;
                *held += 1;
                if how == Hold::OverAYield {
                    yield_now().await;
                }
            }
            if how == Hold::Shortly && i % 16 == 0 {
                yield_now().await;
            }
        }
    };
    let all: Vec<JoinHandle<()>> = (0..contenders).map(|_| spawn(contend(sum.clone()))).collect();
    for one in all {
        one.await.expect("a contender");
    }
    assert_eq!(*sum.lock().await, n * contenders, "the lock does not exclude");
    n * contenders
}

// --- time ---

async fn timers(n: usize) -> usize {
    let mut in_time = 0;
    for _ in 0..n {
        in_time += timeout(HOUR, async { 1 }).await.expect("in time");
    }
    assert_eq!(in_time, n, "a timer was not cancelled");
    n
}

async fn timers_among(n: usize, count: usize) -> usize {
    let others: Vec<JoinHandle<()>> = (0..count)
        .map(|i| spawn(sleep(2 * HOUR + Duration::from_micros((i * 7919 % count) as u64))))
        .collect();
    yield_now().await;
    let operations = timers(n).await;
    for other in others {
        other.abort();
    }
    operations
}

async fn cancelled_sleeps(n: usize) -> usize {
    let mut cancelled = 0;
    for _ in 0..n {
        let sleeper = spawn(sleep(HOUR));
        yield_now().await;
        sleeper.abort();
        cancelled += sleeper.await.is_err() as usize;
    }
    assert_eq!(cancelled, n, "a sleep was not cancelled");
    n
}

fn number_in(file: &str, field: usize) -> f64 {
    let text = std::fs::read_to_string(file).expect(file);
    text.split_whitespace().nth(field).and_then(|word| word.parse().ok()).expect(file)
}

fn resident() -> f64 {
    number_in("/proc/self/statm", 1) * 4096.0
}

/// Of the whole process, by the scheduler's clock: nanoseconds of each of its threads.
fn cpu_ns() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("threads");
    threads.map(|thread| number_in(&format!("{}/schedstat", thread.expect("a thread").path().display()), 0)).sum()
}

/// `ns` is CPU time here, for the rest is waiting.
fn sleepers() -> Figures {
    let count = scaled(1_000_000);
    loops(1).block_on(async {
        let (memory, cpu) = (resident(), cpu_ns());
        let wake_at = tokio::time::Instant::now() + Duration::from_secs(1) + Duration::from_micros(20 * count as u64);
        let all: Vec<JoinHandle<()>> = (0..count).map(|_| spawn(sleep_until(wake_at))).collect();
        // The last one was asleep before this one is woken: tasks start in the order in which they were spawned.
        spawn(sleep_until(wake_at - Duration::from_millis(300))).await.expect("a sleeper");
        let grown = resident() - memory;
        assert!(!all.iter().any(|one| one.is_finished()), "the first one woke before the last one slept");
        for one in all {
            one.await.expect("a sleeper");
        }
        Figures { ns: (cpu_ns() - cpu) / count as f64, bytes: Some(grown / count as f64) }
    })
}

const NAMES: [&str; 22] = [
    "blocking",
    "channel_one_loop",
    "channel_without_wait",
    "gather_1000",
    "mutex_1_on_one_loop",
    "mutex_4_on_one_loop",
    "mutex_8_on_one_loop",
    "mutex_8_on_two_loops",
    "mutex_handed_on_4",
    "mutex_handed_on_8",
    "mutex_uncontended",
    "semaphore_uncontended",
    "shared_mutex_uncontended",
    "skynet_one_loop",
    "skynet_two_loops",
    "sleep_cancelled",
    "sleepers",
    "spawn_join",
    "spawn_many",
    "timer_cancelled",
    "timer_cancelled_among_10000",
    "yield",
];

fn measure(name: &str, seconds: f64) -> Option<Figures> {
    use Hold::*;
    Some(match name {
        "blocking" => timed(seconds, 1, blocking),
        "channel_one_loop" => timed(seconds, 1, round_trips),
        "channel_without_wait" => timed(seconds, 1, without_wait),
        "gather_1000" => timed(seconds, 1, |n| together(n, 1000)),
        "mutex_1_on_one_loop" => timed(seconds, 1, |n| contended(n, 1, Shortly)),
        "mutex_4_on_one_loop" => timed(seconds, 1, |n| contended(n, 4, Shortly)),
        "mutex_8_on_one_loop" => timed(seconds, 1, |n| contended(n, 8, Shortly)),
        "mutex_8_on_two_loops" => timed(seconds, 2, |n| contended(n, 8, WithoutYield)),
        "mutex_handed_on_4" => timed(seconds, 1, |n| contended(n, 4, OverAYield)),
        "mutex_handed_on_8" => timed(seconds, 1, |n| contended(n, 8, OverAYield)),
        "mutex_uncontended" => timed(seconds, 1, uncontended),
        "semaphore_uncontended" => timed(seconds, 1, uncontended_semaphore),
        "shared_mutex_uncontended" => timed(seconds, 1, uncontended_shared),
        "skynet_one_loop" => timed(seconds, 1, skynet),
        "skynet_two_loops" => timed(seconds, 2, skynet),
        "sleep_cancelled" => timed(seconds, 1, cancelled_sleeps),
        "sleepers" => sleepers(),
        "spawn_join" => timed(seconds, 1, spawn_join),
        "spawn_many" => timed(seconds, 1, |n| together(n, scaled(1_000_000))),
        "timer_cancelled" => timed(seconds, 1, timers),
        "timer_cancelled_among_10000" => timed(seconds, 1, |n| timers_among(n, 10_000)),
        "yield" => timed(seconds, 1, yields),
        _ => return None,
    })
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.len() == 1 {
        println!("{}", NAMES.join("\n"));
        return;
    }
    let seconds = words.get(2).and_then(|text| text.parse().ok());
    match seconds.and_then(|seconds| measure(&words[1], seconds)) {
        Some(Figures { ns, bytes: Some(bytes) }) => println!("{{\"ns\": {ns}, \"bytes\": {bytes}}}"),
        Some(Figures { ns, bytes: None }) => println!("{{\"ns\": {ns}}}"),
        None => {
            eprintln!("usage: micro_tokio [NAME SECONDS]");
            std::process::exit(1);
        }
    }
}
