//! The measured claims of the README, in one program: `cargo bench --bench figures -- NAME`.
//!
//! Each is a side by side within one run on one machine: quote the ratios, not the absolute figures. CPU is that of
//! the processes under test alone, as the kernel counts it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures, and its tasks end with it"
)]

mod accept;
mod bare;
mod cluster;
mod cluster_full;
mod cluster_two;
mod conversion;
mod dashboard;
mod deliveries;
mod full_store;
mod load;
#[path = "common/memory_store.rs"]
mod memory_store;
mod pass_through;
mod peer;
#[path = "../tests/common/postgres.rs"]
mod postgres;
mod process;
mod proxies;
mod resident;
mod runs;
mod trigger;
mod waiting;

/// The real binary's allocator, for all that is compared with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // `cargo bench` adds `--bench` at the end.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bare", address, peer] => bare::serve(address, peer, 2),
        ["memory", file] => accept::serve(file),
        ["accept"] => run(accept::compare()),
        ["cluster"] => run(cluster::compare()),
        ["cluster_full"] => run(cluster_full::compare()),
        ["cluster_two"] => run(cluster_two::compare()),
        ["cluster_runs"] => run(cluster::whole()),
        ["conversion"] => run(conversion::compare()),
        ["dashboard"] => run(dashboard::measure()),
        ["deliveries"] => run(deliveries::compare()),
        ["full_store"] => run(full_store::compare()),
        ["pass_through"] => run(pass_through::compare()),
        ["resident"] => run(resident::measure()),
        ["runs"] => run(runs::compare()),
        ["trigger"] => trigger::measure(),
        ["waiting"] => run(waiting::measure()),
        _ => eprintln!(
            "say which: cargo bench --bench figures -- accept | cluster | cluster_full | cluster_runs | cluster_two | conversion | dashboard | deliveries | full_store | \
             pass_through | resident | runs | trigger | waiting"
        ),
    }
}

fn run(figures: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new()
        .expect("a runtime starts")
        .block_on(figures);
}
