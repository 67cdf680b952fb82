//! Which processors the bench and the process that it talks to run on.
//!
//! A round trip between two processes takes 5 us or 150, as the scheduler places them: on one processor each of them
//! runs as soon as the other one waits; on two, one that has gone to sleep has to be woken first. The scheduler decides
//! that anew for every pair, so a round trip and what is held against it would be measured in different places. Where
//! that matters both are placed alike.

use std::fs;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::{Result, at};

/// Where this thread and the other process run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Both on the same processor.
    One,
    /// Each on its own.
    Two,
}

impl Placement {
    /// Those that this machine has processors for.
    pub(crate) fn all() -> Result<Vec<Placement>> {
        let enough = processors()?.len() > 1;
        Ok(if enough { vec![Placement::One, Placement::Two] } else { vec![Placement::One] })
    }

    /// How a figure's name says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Placement::One => "on one processor",
            Placement::Two => "on two processors",
        }
    }

    /// Moves this thread, and all other threads of the processes `others`, until the result is dropped. This process may
    /// be one of them.
    pub(crate) fn take(self, others: &[u32]) -> Result<Placed> {
        let all = processors()?;
        let first = *all.first().ok_or("there is no processor to run on")?;
        let other = match self {
            Placement::One => first,
            Placement::Two => *all.get(1).ok_or("there is no second processor")?,
        };
        let placed = Placed { all, others: others.to_vec() };
        // Others first, for this thread may be among theirs.
        for &pid in others {
            place(pid, &[other])?;
        }
        sched_setaffinity(Pid::from_raw(0), &set_of(&[first])?)?;
        Ok(placed)
    }
}

/// What was placed. It may run anywhere again once this is dropped.
#[derive(Debug)]
#[must_use = "what was placed is let go when this is dropped"]
pub(crate) struct Placed {
    all: Vec<usize>,
    others: Vec<u32>,
}

impl Drop for Placed {
    fn drop(&mut self) {
        let set = set_of(&self.all).map(|set| sched_setaffinity(Pid::from_raw(0), &set));
        debug_assert!(matches!(set, Ok(Ok(()))), "this thread could run there before");
        for &pid in &self.others {
            // It may have ended.
            let _ = place(pid, &self.all);
        }
    }
}

/// The processors that this thread may run on.
fn processors() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&processor| set.is_set(processor).unwrap_or(false)).collect())
}

fn set_of(processors: &[usize]) -> nix::Result<CpuSet> {
    let mut set = CpuSet::new();
    processors.iter().try_for_each(|&processor| set.set(processor))?;
    Ok(set)
}

/// Places all threads of a process; those that they start inherit it.
fn place(pid: u32, processors: &[usize]) -> Result<()> {
    let set = set_of(processors)?;
    let tasks = format!("/proc/{pid}/task");
    for task in fs::read_dir(&tasks).map_err(at(tasks.as_ref()))? {
        let thread: i32 = task?.file_name().to_string_lossy().parse()?;
        match sched_setaffinity(Pid::from_raw(thread), &set) {
            // It has ended since it was listed.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_placed_may_run_anywhere_again() {
        let before = processors().unwrap();
        for placement in Placement::all().unwrap() {
            let placed = placement.take(&[]).unwrap();
            assert_eq!(processors().unwrap(), before[..1]);
            drop(placed);
            assert_eq!(processors().unwrap(), before);
        }
        if Placement::all().unwrap().contains(&Placement::Two) {
            let (ask, asked) = std::sync::mpsc::channel::<()>();
            let other = std::thread::spawn(move || (asked.recv().unwrap(), processors().unwrap()).1);
            let placed = Placement::Two.take(&[std::process::id()]).unwrap();
            ask.send(()).unwrap();
            assert_eq!(processors().unwrap(), before[..1]);
            assert_eq!(other.join().unwrap(), before[1..2], "all other threads are elsewhere");
            drop(placed);
            assert_eq!(processors().unwrap(), before);
        }
    }
}
