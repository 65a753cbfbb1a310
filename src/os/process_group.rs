//! The process group of the kernel: what cells have started and left running ends with it.
//!
//! Jupyter starts a kernel as leader of a session and of a process group. The children of cells belong to the group,
//! unless they were told to live on their own (`setsid`, `start_new_session=True`): those are left alone.

use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether processes that were asked to end have done so.
const LOOK: Duration = Duration::from_millis(5);

/// Ends all others of the group that this process leads: asks them first, and kills those that are still there when
/// `grace` is over. Does nothing if the process does not lead its session: then others may share its group, as in a
/// pipeline of a shell.
///
/// To be called at the very end: it takes the exit codes of children away from whoever waits for them.
pub fn end(grace: Duration) {
    // SAFETY: always succeed.
    let me = unsafe { libc::getpid() };
    if unsafe { libc::getsid(0) } != me || unsafe { libc::getpgrp() } != me {
        return;
    }
    if !grace.is_zero() && signal(me, libc::SIGTERM) {
        let end = Instant::now() + grace;
        while Instant::now() < end && others(me) {
            thread::sleep(LOOK);
        }
    }
    signal(me, libc::SIGKILL);
}

/// Sends a signal to the others of the group. False if there are none.
fn signal(me: libc::pid_t, signal: libc::c_int) -> bool {
    let others = members(me);
    for pid in &others {
        // SAFETY: a plain system call; a process that has ended meanwhile is an error, not harm.
        unsafe { libc::kill(*pid, signal) };
    }
    !others.is_empty()
}

/// Whether there are others in the group.
fn others(me: libc::pid_t) -> bool {
    // Where zombies are not told from others, a child that has ended counts until somebody takes notice.
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
    !members(me).is_empty()
}

/// The other processes of the group that have not ended.
#[cfg(target_os = "linux")]
fn members(me: libc::pid_t) -> Vec<libc::pid_t> {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        // SAFETY: a plain system call; a process that has ended meanwhile is in no group.
        .filter(|pid| *pid != me && unsafe { libc::getpgid(*pid) } == me && !is_zombie(*pid))
        .collect()
}

/// Whether a process has ended, and its parent (which may be nobody's concern) has not taken notice.
#[cfg(target_os = "linux")]
fn is_zombie(pid: libc::pid_t) -> bool {
    // The name, in parentheses, may contain anything.
    std::fs::read(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.iter().rposition(|byte| *byte == b')').is_some_and(|end| stat[end..].starts_with(b") Z"))
    })
}

/// The other processes of the group.
#[cfg(target_os = "macos")]
fn members(me: libc::pid_t) -> Vec<libc::pid_t> {
    let mut pids: Vec<libc::pid_t> = vec![0; 4096];
    let size = libc::c_int::try_from(std::mem::size_of_val(pids.as_slice())).unwrap_or_default();
    // SAFETY: room for as many bytes as said.
    let count = unsafe { libc::proc_listpgrppids(me, pids.as_mut_ptr().cast(), size) };
    pids.truncate(usize::try_from(count).unwrap_or_default());
    pids.retain(|pid| *pid > 0 && *pid != me);
    pids
}

/// Nobody knows the other processes of the group.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn members(_: libc::pid_t) -> Vec<libc::pid_t> {
    Vec::new()
}
