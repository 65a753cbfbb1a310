//! Callers when the system has no more descriptors. Alone in its process, because limits are those of a process.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::fs::File;
use std::os::fd::AsRawFd;

use callboard::delivery::job::Channel;
use callboard::wire::content::CreateSubshellRequest;
use support::{ALICE, RAN, TestKernel};

/// Sets the soft limit for open files and returns the old one.
fn limit_files(files: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a limit that lives as long as they take.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = files;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

#[test]
fn without_descriptors_no_callers_are_made_and_the_kernel_lives_on() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("# thread\nok");
    assert_eq!(kernel.outcome(&sent), RAN);
    let (first, gate) = kernel.hold(None, "hold gate");
    let behind = kernel.execute("ok");

    let lowest_free = File::open("/dev/null").unwrap().as_raw_fd();
    let before = limit_files(libc::rlim_t::try_from(lowest_free).unwrap());
    let sent = kernel.execute("# thread name=X\nprint never");
    let (ename, evalue) = kernel.cell_refused(Channel::Shell, &sent);
    assert_eq!(ename, "CallerError");
    assert!(evalue.contains("Too many open files") && evalue.contains("ulimit -n"), "{evalue}");
    let sent = kernel.send(Channel::Control, ALICE, &CreateSubshellRequest {});
    assert_eq!(kernel.refused(Channel::Control, &sent), "CallerError");
    assert_eq!(kernel.subshells(), Vec::<String>::new());
    // The worker that there is needs none.
    let sent = kernel.execute("# thread\nok");
    assert_eq!(kernel.outcome(&sent), RAN);

    limit_files(before);
    let sent = kernel.execute("# thread name=X\nok");
    assert_eq!(kernel.outcome(&sent), RAN);
    let id = kernel.create_subshell();
    let sent = kernel.execute_in(&id, "ok");
    assert_eq!(kernel.outcome(&sent), RAN);
    kernel.release(&first, gate);
    assert_eq!(kernel.outcome(&behind), RAN);
}
