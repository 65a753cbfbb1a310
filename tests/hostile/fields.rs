//! Fields of headers and metadata with values of the wrong type or size.

use super::BOTH;
use crate::support::{Log, RAN, Sent, TestKernel, cell};
use callboard::delivery::job::Channel;
use callboard::wire::MessageType;
use callboard::wire::content::KernelInfoReply;
use serde_json::{Value, json};

/// JSON values that are no strings.
fn no_strings() -> [Value; 8] {
    [
        json!(3),
        json!(-1.5e300),
        json!(true),
        json!([]),
        json!(["task"]),
        json!({}),
        json!({"mode": "task"}),
        json!([[{"a": [null]}]]),
    ]
}

/// Sends a cell with fields added to its header, and metadata.
#[track_caller]
fn send_cell(kernel: &mut TestKernel, channel: Channel, fields: &Value, metadata: &Value) -> Sent {
    let kind = MessageType::ExecuteRequest;
    let mut header = json!(kernel.session.header(&kind));
    for (name, value) in fields.as_object().unwrap() {
        header[name] = value.clone();
    }
    kernel.send_raw(channel, kind, &header, metadata, &json!(cell("ok")))
}

#[test]
fn a_run_mode_that_is_no_text_is_refused_in_a_header_that_is_read() {
    let mut kernel = TestKernel::start();
    for mode in no_strings() {
        for channel in BOTH {
            let sent = send_cell(&mut kernel, channel, &json!({"run_mode": mode}), &json!({}));
            let (ename, evalue) = kernel.cell_refused(channel, &sent);
            assert_eq!(ename, "RunModeError");
            assert!(evalue.contains("is not a run mode"), "{evalue}");
            let sent = send_cell(&mut kernel, channel, &json!({}), &json!({"run_mode": mode}));
            assert_eq!(kernel.cell_refused(channel, &sent).0, "RunModeError");
        }
        // For other requests than cells it is ignored.
        let kind = MessageType::KernelInfoRequest;
        let mut header = json!(kernel.session.header(&kind));
        header["run_mode"] = mode.clone();
        let sent = kernel.send_raw(Channel::Shell, kind, &header, &json!({}), &json!({}));
        kernel.shell.reply::<KernelInfoReply>(&sent);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
    let none = json!({"run_mode": null});
    let sent = send_cell(&mut kernel, Channel::Shell, &none, &none);
    assert_eq!(kernel.outcome(&sent), RAN);
    assert_eq!(kernel.started().len(), 0);
}

#[test]
fn tags_that_are_no_list_of_texts_are_ignored() {
    let mut kernel = TestKernel::start();
    let mut tags = no_strings().to_vec();
    tags.retain(|tags| *tags != json!(["task"]));
    tags.extend([
        json!(null),
        json!("thread"),
        json!([null, 3, {"thread": 1}, ["thread"], "", " ", "threads"]),
    ]);
    for tags in tags {
        let sent = send_cell(&mut kernel, Channel::Shell, &json!({}), &json!({"tags": tags}));
        assert_eq!(kernel.outcome(&sent), RAN, "{tags}");
    }
    assert_eq!(kernel.started().len(), 0, "they all ran on the shell's thread");
    let tags = json!([null, 3, {}, "thread name=X"]);
    let sent = send_cell(&mut kernel, Channel::Shell, &json!({}), &json!({"tags": tags}));
    assert_eq!(kernel.outcome(&sent), RAN);
    assert_eq!(kernel.started()[0].spec.name, "X");
}

#[test]
fn a_subshell_id_that_is_no_text_makes_the_header_unreadable_which_is_logged() {
    let log = Log::start();
    let mut kernel = TestKernel::start();
    let ids = no_strings();
    for subshell_id in &ids {
        for channel in BOTH {
            send_cell(&mut kernel, channel, &json!({"subshell_id": subshell_id}), &json!({}));
        }
    }
    // It is dropped: without a header it has no place.
    kernel.answers();
    let text = log.text();
    let told = text.lines().filter(|line| {
        line.contains("a message was dropped") && line.contains("header cannot be read: invalid type")
    });
    assert_eq!(told.count(), 2 * ids.len(), "{text}");
    let sent = send_cell(&mut kernel, Channel::Shell, &json!({"subshell_id": null}), &json!({}));
    assert_eq!(kernel.outcome(&sent), RAN);
}

#[test]
fn a_run_mode_of_a_megabyte_is_read_and_refused_with_few_words() {
    let mut kernel = TestKernel::start();
    let long = "x".repeat(1_000_000);
    for mode in [long.clone(), format!("thread {long}=1"), format!("thread name='{long}")] {
        let (field, none) = (json!({"run_mode": mode}), json!({}));
        for (header, metadata) in [(&field, &none), (&none, &field)] {
            let sent = send_cell(&mut kernel, Channel::Shell, header, metadata);
            let (ename, evalue) = kernel.cell_refused(Channel::Shell, &sent);
            assert_eq!(ename, "RunModeError");
            assert!(evalue.len() < 1000, "{evalue:.2000}");
        }
    }
    // As a tag it is a tag, and as a line a comment.
    let sent = send_cell(&mut kernel, Channel::Shell, &json!({}), &json!({"tags": [long]}));
    assert_eq!(kernel.outcome(&sent), RAN);
    let sent = kernel.execute(&format!("# {long}"));
    assert_eq!(kernel.outcome(&sent), RAN);
    assert_eq!(kernel.started().len(), 0);
}

#[test]
fn a_caller_can_have_any_name() {
    let mut kernel = TestKernel::start();
    let names = [
        "a\0b".to_owned(),
        "a\nb".into(),
        "\u{1f980}\u{202e}".into(),
        "--".into(),
        "=".into(),
        "n".repeat(1_000_000),
    ];
    for name in &names {
        let mode = json!({"run_mode": format!("thread name=\"{name}\"")});
        for _ in 0..2 {
            let sent = send_cell(&mut kernel, Channel::Shell, &mode, &json!({}));
            assert_eq!(kernel.outcome(&sent), RAN);
        }
    }
    let started: Vec<String> = kernel.started().iter().map(|started| started.spec.name.clone()).collect();
    assert!(started == names);
}

#[test]
fn a_subshell_id_of_any_text_is_only_unknown() {
    let mut kernel = TestKernel::start();
    for id in ["\0", "\n", "../..", "\u{1f980}", &"x".repeat(1_000_000)] {
        let sent = send_cell(&mut kernel, Channel::Shell, &json!({"subshell_id": id}), &json!({}));
        assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "UnknownSubshellError");
        let sent = kernel.ask_to_delete(id);
        assert_eq!(kernel.refused(Channel::Control, &sent), "UnknownSubshellError");
    }
}
