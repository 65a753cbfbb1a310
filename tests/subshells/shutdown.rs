//! The end of the kernel with subshells.

use std::time::Duration;

use super::{GOES_ON, queued, stubborn, used_subshell};
use crate::support::{ABORTED, ALICE, Log, PATIENCE, RAN, Sent, TestKernel, next_work, within_patience};
use callboard::actors::caller::Task;
use callboard::delivery::job::Channel;
use callboard::delivery::request::ReplyStatus;
use callboard::wire::content::{ShutdownReply, ShutdownRequest};

/// Asks for a shutdown and reads its messages, not those of other requests.
#[track_caller]
fn shut_down(kernel: &mut TestKernel) {
    let sent = kernel.send(Channel::Control, ALICE, &ShutdownRequest { restart: false });
    kernel.control.reply::<ShutdownReply>(&sent);
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
    kernel.iopub.expect::<ShutdownReply>(&sent);
}

#[test]
fn a_shutdown_aborts_what_is_queued_anywhere_and_stops_every_thread() {
    let mut kernel = TestKernel::start();
    let ids = [kernel.create_subshell(), kernel.create_subshell()];
    let (used, _) = used_subshell(&mut kernel);
    let mut running = Vec::new();
    let mut waiting = Vec::new();
    for shell in [None, Some(&*ids[0]), Some(&*ids[1])] {
        running.push(kernel.hold(shell, "hold cell"));
        waiting.extend(queued(&mut kernel, shell, &["print never", "print never"]));
    }
    for code in ["# thread\nhold worker", "# thread\nhold worker", "# thread name=X\nhold X"] {
        running.push(kernel.hold(None, code));
    }
    // Behind a cell that holds its thread, but not aborted: it is beside all queues.
    let behind = queued(&mut kernel, None, &["# thread name=X\nok", "# task\nok"]);
    shut_down(&mut kernel);
    assert_eq!(kernel.outcomes(&waiting.iter().collect::<Vec<_>>()), [ABORTED; 6]);
    // What comes later is answered, too.
    for shell in [None, Some(&*ids[0]), Some(&*used)] {
        let late = match shell {
            Some(id) => kernel.execute_in(id, "print never"),
            None => kernel.execute("print never"),
        };
        assert_eq!(kernel.outcome(&late), ABORTED);
    }
    let (sent, gates): (Vec<Sent>, Vec<_>) = running.into_iter().unzip();
    drop(gates);
    let sent: Vec<&Sent> = sent.iter().chain(&behind).collect();
    let outcomes = kernel.outcomes(&sent);
    assert_eq!(outcomes[..6], [GOES_ON; 6]);
    assert_eq!(outcomes[6..], [RAN; 2]);
    assert_eq!(kernel.started().len(), 6);
    kernel.python_ended();
}

#[test]
fn closing_does_not_wait_for_threads_that_are_held() {
    let mut kernel = TestKernel::start();
    let ids = [kernel.create_subshell(), kernel.create_subshell()];
    let mut held = Vec::new();
    let mut waiting = Vec::new();
    for shell in [None, Some(&*ids[0]), Some(&*ids[1])] {
        held.push(kernel.hold(shell, "hold cell"));
        waiting.extend(queued(&mut kernel, shell, &["print never", "print never"]));
    }
    for code in ["# thread\nhold worker", "# thread name=X\nhold X"] {
        held.push(kernel.hold(None, code));
    }
    shut_down(&mut kernel);
    let inner = kernel.kernel.clone();
    // Its own patience would last for an hour.
    within_patience("the end of the kernel", move || inner.close(Duration::from_secs(3600)));
    assert!(PATIENCE < Duration::from_secs(3600));
    assert_eq!(kernel.outcomes(&waiting.iter().collect::<Vec<_>>()), [ABORTED; 6]);
    // The cells that ran are not answered, but all threads end.
    drop(held);
    kernel.python_ended();
}

#[test]
fn closing_does_not_wait_for_a_deleted_subshell() {
    let mut kernel = TestKernel::start();
    let (id, _) = used_subshell(&mut kernel);
    let (_, gate) = stubborn(&mut kernel, &id, true, "ok");
    kernel.delete_subshell(&id);
    let inner = kernel.kernel.clone();
    within_patience("the end of the kernel", move || inner.close(Duration::from_secs(3600)));
    // Whether the cell was given up before the end is a matter of time.
    assert!(kernel.shell.rest().len() <= 1);
    kernel.iopub.rest();
    drop(gate);
}

#[test]
fn closing_waits_for_the_replies_of_subshells() {
    let log = Log::start();
    for _ in 0..20 {
        let mut kernel = TestKernel::without_python();
        let ids: Vec<String> = (0..4).map(|_| kernel.create_subshell()).collect();
        let starts = next_work(&kernel.kernel.control);
        let outcomes = [ReplyStatus::Ok, ReplyStatus::Error].repeat(2);
        let mut cells = Vec::new();
        for ((id, start), outcome) in ids.iter().zip(starts).zip(outcomes) {
            let Task::Start(caller) = start else {
                panic!("a thread was to be started");
            };
            let sent = kernel.execute_in(id, "ok");
            let Some(Task::Request(request)) = next_work(&caller.inbox).pop() else {
                panic!("a cell was to come");
            };
            assert!(request.begin());
            request.reply_error("Failure", "on purpose", Vec::new());
            cells.push((sent, request, outcome));
        }
        for (_, request, outcome) in &cells {
            request.finish(*outcome);
        }
        kernel.kernel.close(PATIENCE);
        let sent: Vec<&Sent> = cells.iter().map(|(sent, ..)| sent).collect();
        assert_eq!(kernel.outcomes(&sent), ["busy idle; error:Failure"; 4]);
    }
    // Not by luck: it has waited for them.
    assert!(!log.text().contains("may be lost"), "{}", log.text());
}
