//! The process group of the kernel: processes that cells have started and left running end with it.
//!
//! Jupyter starts a kernel as leader of a session and of a process group. The children of cells belong to the group,
//! unless they were started in a session of their own (`setsid`, `start_new_session=True`): those are left alone.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};
#[cfg(not(target_os = "linux"))]
use rustix::process::{WaitOptions, wait};

/// The interval between two looks whether processes that were asked to end have done so.
const LOOK: Duration = Duration::from_millis(5);

// Ids of groups and sessions are asked for with libc: rustix has no 0, which they are if the leader is outside of the
// container that this process is in.

/// The id of this process's session; 0 if its leader is outside of this container.
pub(super) fn session() -> libc::pid_t {
    // SAFETY: always succeeds.
    unsafe { libc::getsid(0) }
}

/// Whether this process leads its process group, as kernels do that Jupyter has started.
pub fn is_led() -> bool {
    // SAFETY: always succeeds.
    unsafe { libc::getpgrp() == getpid().as_raw_pid() }
}

/// Ends all others of the group that this process leads: asks them first, and kills those that are still there when
/// `grace` is over. Does nothing if the process does not lead its session: its group may then have others, as in a
/// pipeline of a shell.
///
/// Call it when the program ends: except on Linux, it collects the exit codes of all children.
pub fn end(grace: Duration) {
    let me = getpid();
    if session() != me.as_raw_pid() || !is_led() {
        return;
    }
    if !grace.is_zero() && signal(me, Signal::TERM) {
        let end = Instant::now() + grace;
        while Instant::now() < end && has_others(me) {
            thread::sleep(LOOK);
        }
    }
    signal(me, Signal::KILL);
}

/// Sends a signal to the others of the group. False if there are none.
fn signal(me: Pid, signal: Signal) -> bool {
    let others = members(me);
    for pid in &others {
        // Fails if it has ended meanwhile.
        kill_process(*pid, signal).ok();
    }
    !others.is_empty()
}

/// Whether there are others in the group.
fn has_others(me: Pid) -> bool {
    // Where zombies cannot be told from others, a child that has ended counts until it is waited for.
    #[cfg(not(target_os = "linux"))]
    while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
    !members(me).is_empty()
}

/// The other processes of the group that have not ended.
#[cfg(target_os = "linux")]
fn members(me: Pid) -> Vec<Pid> {
    use super::procfs::{Stat, processes};

    processes()
        // The group is asked for first: that is much quicker than to read a file.
        // SAFETY: a plain system call; a process that has ended meanwhile is in no group.
        .filter(|pid| unsafe { libc::getpgid(pid.cast_signed()) } == me.as_raw_pid())
        .filter(|pid| Stat::of(*pid).is_some_and(|stat| !stat.is_zombie))
        .filter_map(|pid| Pid::from_raw(pid.cast_signed()))
        .filter(|pid| *pid != me)
        .collect()
}

/// The other processes of the group.
#[cfg(target_os = "macos")]
fn members(me: Pid) -> Vec<Pid> {
    let mut pids: Vec<libc::pid_t> = vec![0; 4096];
    let size = libc::c_int::try_from(std::mem::size_of_val(pids.as_slice())).unwrap_or_default();
    // SAFETY: room for as many bytes as said.
    let count = unsafe { libc::proc_listpgrppids(me.as_raw_pid(), pids.as_mut_ptr().cast(), size) };
    pids.truncate(usize::try_from(count).unwrap_or_default());
    pids.into_iter().filter(|pid| *pid > 0).filter_map(Pid::from_raw).filter(|pid| *pid != me).collect()
}

/// No way is known to find the other processes of the group.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn members(_: Pid) -> Vec<Pid> {
    Vec::new()
}
