//! On what machine the report ran, as far as Linux tells: figures mean little without it.

use std::{fs, thread};

/// Prints a line that `benches/charts.py` takes over.
pub(crate) fn print() {
    let told = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let processor = after(&told("/proc/cpuinfo"), "model name");
    let memory = after(&told("/proc/meminfo"), "MemTotal");
    let memory = memory.and_then(|memory| memory.split(' ').next()?.parse::<f64>().ok());
    let kernel = told("/proc/sys/kernel/osrelease");
    let kernel = kernel.split(['.', '-']).take(2).collect::<Vec<_>>().join(".");
    let load = told("/proc/loadavg");
    println!(
        "machine: {} ({} cores), {:.0} GiB, Linux {kernel}, load {} as it began",
        processor.as_deref().unwrap_or("unknown"),
        thread::available_parallelism().map_or(1, usize::from),
        memory.unwrap_or(0.0) / f64::from(1 << 20),
        load.split(' ').next().unwrap_or("unknown"),
    );
}
