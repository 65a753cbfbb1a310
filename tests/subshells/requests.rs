//! Requests that make, list and delete subshells.

use std::collections::HashSet;

use super::{GOES_ON, ended, queued, used_subshell};
use crate::support::{ABORTED, ALICE, FAILED, RAN, Sent, TestKernel, cell};
use callboard::delivery::job::Channel;
use callboard::wire::MessageType;
use callboard::wire::content::{
    CreateSubshellReply, CreateSubshellRequest, DeleteSubshellReply, DeleteSubshellRequest, ErrorReply,
    KernelInfoReply, KernelInfoRequest, ListSubshellReply, ListSubshellRequest,
};

const BOTH: [Channel; 2] = [Channel::Shell, Channel::Control];

#[test]
fn subshells_are_made_listed_and_deleted_while_all_threads_are_held() {
    let mut kernel = TestKernel::start();
    let (main, gate) = kernel.hold(None, "hold main");
    assert_eq!(kernel.subshells(), Vec::<String>::new());
    let mut ids: Vec<String> = Vec::new();
    for channel in [Channel::Control, Channel::Shell, Channel::Control] {
        let sent = kernel.send(channel, ALICE, &CreateSubshellRequest {});
        ids.push(kernel.line(channel).reply::<CreateSubshellReply>(&sent).subshell_id);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3, "{ids:?}");
    let held: Vec<_> = ids.iter().map(|id| kernel.hold(Some(id), "hold cell")).collect();
    for channel in BOTH {
        let sent = kernel.send(channel, ALICE, &ListSubshellRequest {});
        assert_eq!(kernel.line(channel).reply::<ListSubshellReply>(&sent).subshell_id, ids);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
    assert_eq!(kernel.kernel.subshells(), Some(ids.clone()), "Python is told the same");
    for (sent, gate) in held {
        kernel.release(&sent, gate);
    }
    for channel in BOTH {
        let request = DeleteSubshellRequest { subshell_id: ids.remove(1) };
        let sent = kernel.send(channel, ALICE, &request);
        kernel.line(channel).reply::<DeleteSubshellReply>(&sent);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
        kernel.next_ended();
    }
    assert_eq!(kernel.subshells(), ids);
    let last = kernel.execute_in(&ids[0], "ok");
    assert_eq!(kernel.outcome(&last), RAN);
    kernel.release(&main, gate);
}

#[test]
fn an_unknown_subshell_is_refused_and_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let (main, gate) = kernel.hold(None, "await main");
    let behind = queued(&mut kernel, None, &["ok"]);
    for id in ["", "nowhere", "null", "\u{1f980}", "0"] {
        for code in ["print never", "# task\nprint never", "# thread\nprint never", "# queue\nprint never"] {
            let sent = kernel.execute_in(id, code);
            let (ename, evalue) = kernel.cell_refused(Channel::Shell, &sent);
            assert_eq!(ename, "UnknownSubshellError");
            assert!(evalue.contains(&format!("{id:?}")), "{evalue}");
        }
        let sent = kernel.ask_to_delete(id);
        assert_eq!(kernel.refused(Channel::Control, &sent), "UnknownSubshellError");
    }
    assert_eq!(kernel.started().len(), 0);
    kernel.release(&main, gate);
    ended(&mut kernel, &behind, &[RAN]);
}

#[test]
fn a_subshell_is_deleted_once() {
    let mut kernel = TestKernel::start();
    let (id, caller) = used_subshell(&mut kernel);
    kernel.delete_subshell(&id);
    assert_eq!(kernel.next_ended(), caller.spec.name);
    for channel in BOTH {
        let sent = kernel.send(channel, ALICE, &DeleteSubshellRequest { subshell_id: id.clone() });
        assert_eq!(kernel.refused(channel, &sent), "UnknownSubshellError");
    }
    for code in ["print never", "# task\nprint never", "# thread\nprint never"] {
        let sent = kernel.execute_in(&id, code);
        assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "UnknownSubshellError");
    }
    assert_eq!(kernel.subshells(), Vec::<String>::new());
}

#[test]
fn a_hundred_subshells_come_and_go_and_leave_nothing() {
    const COUNT: usize = 100;
    let mut kernel = TestKernel::start();
    for _ in 0..2 {
        let ids: Vec<String> = (0..COUNT).map(|_| kernel.create_subshell()).collect();
        assert_eq!(kernel.subshells(), ids);
        let cells: Vec<Sent> = ids.iter().map(|id| kernel.execute_in(id, "await all")).collect();
        let cells: Vec<&Sent> = cells.iter().collect();
        let gates: Vec<_> = (0..COUNT).map(|_| kernel.held("all")).collect();
        kernel.iopub.stories(&cells, |last| last == "input");
        drop(gates);
        assert_eq!(kernel.outcomes(&cells), [GOES_ON; COUNT]);
        for id in &ids {
            kernel.delete_subshell(id);
        }
        for _ in 0..COUNT {
            kernel.next_ended();
        }
        assert_eq!(kernel.subshells(), Vec::<String>::new());
    }
    assert_eq!(kernel.started().len(), 2 * COUNT);
    // Actors end some turns of their thread after their last message.
    let left = || kernel.started().iter().filter(|started| started.inbox.strong_count() > 0).count();
    let mut turns = 0..100;
    let gone = loop {
        if left() == 0 || turns.next().is_none() {
            break left() == 0;
        }
        assert_eq!(kernel.kernel.subshells(), Some(Vec::new()));
    };
    assert!(gone, "the inboxes of {} subshells are still there", left());
}

#[test]
fn subshells_that_are_switched_off_are_refused() {
    let mut kernel = TestKernel::start_with(|options| options.facts.kernel_info.supported_features.clear());
    for channel in BOTH {
        let delete = DeleteSubshellRequest { subshell_id: "a".into() };
        let requests = [
            kernel.send(channel, ALICE, &CreateSubshellRequest {}),
            kernel.send(channel, ALICE, &ListSubshellRequest {}),
            kernel.send(channel, ALICE, &delete),
        ];
        for sent in &requests {
            kernel.iopub.busy(sent);
            kernel.iopub.idle(sent);
            let ErrorReply { ename, evalue, .. } = kernel.line(channel).reply(sent);
            assert_eq!(ename, "NoSubshells");
            assert!(evalue.contains("without --no-subshells"), "{evalue}");
        }
    }
    let sent = kernel.execute_in("a", "print never");
    assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "UnknownSubshellError");
    let sent = kernel.execute("# thread\nok");
    assert_eq!(kernel.outcome(&sent), RAN);
    let sent = kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {});
    assert_eq!(kernel.shell.reply::<KernelInfoReply>(&sent).supported_features, Vec::<String>::new());
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
}

#[test]
fn malformed_requests_for_subshells_are_refused() {
    let mut kernel = TestKernel::start();
    for channel in BOTH {
        for content in [serde_json::json!({}), serde_json::json!({"subshell_id": 3}), serde_json::json!([])] {
            let kind = MessageType::DeleteSubshellRequest;
            let header = serde_json::json!(kernel.session.header(&kind));
            let sent = kernel.send_raw(channel, kind, &header, &serde_json::json!({}), &content);
            assert_eq!(kernel.refused(channel, &sent), "InvalidRequest");
        }
    }
}

#[test]
fn two_clients_share_subshells_and_get_their_own_replies() {
    let mut kernel = TestKernel::start();
    let created = kernel.send(Channel::Control, "alice", &CreateSubshellRequest {});
    let id = kernel.control.reply::<CreateSubshellReply>(&created).subshell_id;
    kernel.iopub.busy(&created);
    kernel.iopub.idle(&created);
    let (first, gate) = kernel.hold(Some(&id), "hold gate");
    let send = |kernel: &mut TestKernel, identity: &str, code: &str| {
        let header = kernel.header_in(Some(&id), &MessageType::ExecuteRequest);
        kernel.send_as(Channel::Shell, identity, &header, &cell(code))
    };
    let cells = [
        send(&mut kernel, "alice", "print a"),
        send(&mut kernel, "bob", "print b"),
        send(&mut kernel, "bob", "fail"),
        send(&mut kernel, "alice", "print never"),
    ];
    kernel.all_has_arrived();
    let listed = kernel.send(Channel::Control, "bob", &ListSubshellRequest {});
    assert_eq!(kernel.control.reply::<ListSubshellReply>(&listed).subshell_id, [&*id]);
    kernel.iopub.busy(&listed);
    kernel.iopub.idle(&listed);
    kernel.release(&first, gate);
    // `outcome` checks the client of each reply.
    let (a, b) = ("busy input stdout:a idle; ok", "busy input stdout:b idle; ok");
    ended(&mut kernel, &cells, &[a, b, FAILED, ABORTED]);
    let deleted = kernel.send(Channel::Control, "bob", &DeleteSubshellRequest { subshell_id: id.clone() });
    kernel.control.reply::<DeleteSubshellReply>(&deleted);
    kernel.iopub.busy(&deleted);
    kernel.iopub.idle(&deleted);
    let late = send(&mut kernel, "alice", "print never");
    assert_eq!(kernel.cell_refused(Channel::Shell, &late).0, "UnknownSubshellError");
}
