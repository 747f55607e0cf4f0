//! Makes a case that fails shorter.

use std::time::Duration;

use crate::{
    backend::Backend,
    model::Complaint,
    property::{now, run_one},
    step::{Setting, Step},
};

/// How long it is tried.
const LIMIT: Duration = Duration::from_secs(30);
/// How often a shorter case may hold before it counts as one that does: what goes on in threads of
/// its own is not the same every time.
const TRIES: usize = 2;

/// The case without what it fails without, as far as that is found out in time, and how it fails.
pub fn shorten<B: Backend>(
    backend: &mut B,
    setting: Setting,
    steps: Vec<Step>,
    complaint: Complaint,
) -> (Setting, Vec<Step>, Complaint) {
    let begun = now();
    let mut shortest = (setting, steps, complaint);
    let mut fails = |(setting, steps): (Setting, Vec<Step>)| {
        let is_in_time = begun.elapsed() < LIMIT;
        let mut tries = (0..TRIES).take_while(|_| is_in_time);
        let complaint = tries.find_map(|_| run_one(backend, &setting, &steps).err())?;
        Some((setting, steps, complaint))
    };
    shortest = fails((Setting::ROOMY, shortest.1.clone())).unwrap_or(shortest);
    loop {
        let before = length(&shortest.1);
        let mut size = shortest.1.len().div_ceil(2);
        while size > 0 {
            let mut place = 0;
            while place < shortest.1.len() {
                let mut steps = shortest.1.clone();
                steps.drain(place..(place + size).min(steps.len()));
                match fails((shortest.0.clone(), steps)) {
                    Some(shorter) => shortest = shorter,
                    None => place += size,
                }
            }
            size /= 2;
        }
        for place in 0..shortest.1.len() {
            for action in (0..shortest.1[place].0.len()).rev() {
                let mut steps = shortest.1.clone();
                steps[place].0.remove(action);
                shortest = fails((shortest.0.clone(), steps)).unwrap_or(shortest);
            }
        }
        if length(&shortest.1) == before {
            return shortest;
        }
    }
}

fn length(steps: &[Step]) -> usize {
    steps.iter().map(|step| 1 + step.0.len()).sum()
}
