//! The thread that runs a cell, and the places where a client names it.

use super::{BOTH, PLACES, last_started, ran_on, with_mode};
use crate::support::{RAN, Sent, TestKernel, cell};
use callboard::actors::caller::{Role, WORKER};
use callboard::delivery::job::Channel;
use callboard::wire::content::StreamName;
use callboard::wire::{Header, MessageType};
use serde_json::{Value, json};

#[test]
fn a_cell_runs_on_the_thread_that_channel_subshell_and_mode_name() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    let sent = kernel.execute_in(&subshell, "ok");
    assert_eq!(kernel.outcome(&sent), RAN);
    let in_subshell = last_started(&kernel);

    let mut cases = 0;
    for channel in BOTH {
        for subshell_id in [None, Some(&*subshell)] {
            let own = match (channel, subshell_id) {
                (Channel::Shell, None) => "shell",
                (Channel::Shell, Some(_)) => &in_subshell,
                // There are no queues on control.
                _ => "control",
            };
            for place in PLACES {
                for (mode, thread) in [
                    ("queue", own),
                    ("task", own),
                    ("thread", WORKER),
                    ("thread name=X", "X"),
                    ("thread name='a b' backend=asyncio use_uvloop=false", "a b"),
                ] {
                    let content = cell("where");
                    let sent = with_mode(&mut kernel, channel, subshell_id, place, mode, content);
                    ran_on(&mut kernel, channel, &sent, thread);
                    cases += 1;
                }
            }
            let sent = with_mode(&mut kernel, channel, subshell_id, "no place", "", cell("where"));
            ran_on(&mut kernel, channel, &sent, own);
        }
    }
    assert_eq!(cases, 2 * 2 * 4 * 5);
    let roles: Vec<Role> = kernel.started().iter().map(|started| started.spec.role.clone()).collect();
    // Of all clients and in all places: they share their Callers.
    assert_eq!(roles, [Role::Subshell(subshell), Role::Worker, Role::Named, Role::Named]);
}

#[test]
fn the_first_place_that_names_a_mode_counts() {
    let mut kernel = TestKernel::start();
    let mut header = kernel.session.header(&MessageType::ExecuteRequest);
    let metadata = json!({"run_mode": "thread name=metadata", "tags": ["thread name=tag"]});
    let content = cell("# thread name=line\nwhere");
    header.run_mode = Some(json!("thread name=header"));
    let sent = kernel.send_with(Channel::Shell, &header, &metadata, &content);
    ran_on(&mut kernel, Channel::Shell, &sent, "header");
    for (metadata, thread) in
        [(&metadata, "metadata"), (&json!({"tags": ["thread name=tag"]}), "tag"), (&json!({}), "line")]
    {
        let header = kernel.session.header(&MessageType::ExecuteRequest);
        let sent = kernel.send_with(Channel::Shell, &header, metadata, &content);
        ran_on(&mut kernel, Channel::Shell, &sent, thread);
    }
}

/// Sends a message that is no cell, and asks for a thread in every way.
fn no_cell(kernel: &mut TestKernel, channel: Channel, id: Option<&str>, kind: &str, content: &Value) -> Sent {
    let kind = MessageType::parse(kind);
    let header = Header { run_mode: Some(json!("thread")), ..kernel.header_in(id, &kind) };
    let metadata = json!({"run_mode": "thread", "tags": ["thread"]});
    kernel.send_raw(channel, kind, &json!(header), &metadata, content)
}

#[test]
fn comm_messages_stay_on_the_shell_thread_unless_told_otherwise() {
    for comms_in_subshells in [false, true] {
        let mut kernel = TestKernel::start_with(|options| options.comms_in_subshells = comms_in_subshells);
        let subshell = kernel.create_subshell();
        let sent = kernel.execute_in(&subshell, "ok");
        assert_eq!(kernel.outcome(&sent), RAN);
        let its_thread = if comms_in_subshells { last_started(&kernel) } else { "shell".to_owned() };
        for (channel, subshell_id, thread) in [
            (Channel::Shell, None, "shell"),
            (Channel::Shell, Some(&*subshell), &*its_thread),
            (Channel::Shell, Some("nowhere"), "shell"),
            (Channel::Control, None, "shell"),
            // Comm messages belong on shell: control does not look for their subshell.
            (Channel::Control, Some(&*subshell), "shell"),
        ] {
            for kind in ["comm_open", "comm_msg", "comm_close"] {
                let content = json!({"comm_id": "a", "target_name": "t", "data": {}});
                let sent = no_cell(&mut kernel, channel, subshell_id, kind, &content);
                kernel.iopub.busy(&sent);
                kernel.iopub.text(&sent, StreamName::Stdout, &format!("{kind} on {thread}\n"));
                kernel.iopub.idle(&sent);
            }
        }
        assert_eq!(kernel.started().len(), 1, "no thread was started for a comm");
    }
}

#[test]
fn other_requests_than_cells_ignore_run_modes() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    let (first, gate) = kernel.hold(None, "hold gate");
    let (second, other) = kernel.hold(Some(&subshell), "hold other");
    for channel in BOTH {
        for subshell_id in [None, Some(&*subshell), Some("nowhere")] {
            for (kind, content, python) in [
                ("complete_request", json!({"code": "# thread\npri"}), true),
                ("inspect_request", json!({"code": "# task"}), true),
                ("is_complete_request", json!({"code": "# thread name=X"}), true),
                ("history_request", json!({"hist_access_type": "tail", "n": 3}), true),
                ("kernel_info_request", json!({}), false),
                ("connect_request", json!({}), false),
                ("comm_info_request", json!({}), false),
                ("usage_request", json!({}), false),
                ("list_subshell_request", json!({}), false),
            ] {
                let sent = no_cell(&mut kernel, channel, subshell_id, kind, &content);
                kernel.iopub.busy(&sent);
                kernel.iopub.idle(&sent);
                let reply: Value = kernel.line(channel).reply(&sent);
                assert_eq!(reply["thread"], if python { json!("control") } else { Value::Null }, "{kind}");
            }
        }
    }
    kernel.release(&first, gate);
    kernel.release(&second, other);
}
