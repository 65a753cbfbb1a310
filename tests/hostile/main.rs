//! What the kernel makes of messages that nobody should send.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use callboard::delivery::job::Channel;
use callboard::wire::content::{KernelInfoReply, KernelInfoRequest};
use callboard::wire::{DELIMITER, Frames, MessageType};
use serde_json::{Value, json};
use support::{ALICE, KEY, Log, RAN, Sent, TestKernel, cell, signed};

const BOTH: [Channel; 2] = [Channel::Shell, Channel::Control];
const ALL: [Channel; 3] = [Channel::Shell, Channel::Control, Channel::Stdin];

/// Sends a well-formed message of any type.
#[track_caller]
fn send(kernel: &mut TestKernel, channel: Channel, msg_type: &str, content: &str) -> Sent {
    let header = kernel.session.header(&MessageType::parse(msg_type));
    let raw = serde_json::to_string(&header).unwrap();
    kernel.line(channel).send_dicts(ALICE, [&raw, "{}", "{}", content]);
    let kind = MessageType::parse(msg_type);
    Sent { id: header.msg_id, kind, header: raw.into_bytes(), identity: ALICE.to_owned() }
}

/// A header that the kernel can read.
fn header(msg_id: &str) -> String {
    format!(r#"{{"msg_id":"{msg_id}","msg_type":"kernel_info_request"}}"#)
}

#[test]
fn an_unknown_request_gets_an_error_reply_of_its_own_name() {
    let mut kernel = TestKernel::without_python();
    for channel in BOTH {
        for msg_type in ["nonsense_request", "_request", "\u{1f980}_request"] {
            let sent = send(&mut kernel, channel, msg_type, "{}");
            kernel.refused(channel, &sent);
        }
    }
    kernel.answers();
}

#[test]
fn a_message_that_is_no_request_is_only_busy_and_idle() {
    let mut kernel = TestKernel::without_python();
    for channel in BOTH {
        for msg_type in ["nonsense", "", "status", "execute_reply", "request", "input_reply"] {
            let content = if msg_type == "input_reply" { r#"{"value":"x"}"# } else { "{}" };
            let sent = send(&mut kernel, channel, msg_type, content);
            kernel.iopub.busy(&sent);
            kernel.iopub.idle(&sent);
        }
    }
    kernel.answers();
}

#[test]
fn malformed_content_gets_an_error_reply() {
    let mut kernel = TestKernel::start();
    let malformed = [
        ("execute_request", "{}"),
        ("execute_request", r#"{"code": 1}"#),
        ("execute_request", r#"{"code": "1", "silent": "yes"}"#),
        ("execute_request", r#"{"code": "1"#),
        ("execute_request", r#"["1", false]"#),
        ("execute_request", ""),
        ("complete_request", r#"{"cursor_pos": 1}"#),
        ("history_request", r#"{"hist_access_type": "everything"}"#),
        ("kernel_info_request", "null"),
        ("shutdown_request", r#"{"restart": "maybe"}"#),
        ("interrupt_request", "[]"),
        ("comm_info_request", r#"{"target_name": 1}"#),
        ("debug_request", "3"),
        ("nonsense_request", "nonsense"),
    ];
    for channel in BOTH {
        for (msg_type, content) in malformed {
            let sent = send(&mut kernel, channel, msg_type, content);
            assert_eq!(kernel.refused(channel, &sent), "InvalidRequest", "{msg_type} {content}");
        }
    }
    assert!(kernel.no_act(), "neither an interrupt nor a shutdown was asked for in earnest");
    kernel.answers();
    let sent = kernel.execute("ok");
    kernel.ran(&sent, "ok");
}

#[test]
fn a_malformed_comm_message_is_only_busy_and_idle() {
    let mut kernel = TestKernel::without_python();
    for content in ["{}", r#"{"comm_id": 1}"#, "[]", ""] {
        let sent = send(&mut kernel, Channel::Shell, "comm_open", content);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
    kernel.answers();
}

#[test]
fn content_that_is_not_utf8_gets_an_error_reply() {
    let mut kernel = TestKernel::without_python();
    let header = kernel.session.header(&MessageType::ExecuteRequest);
    let raw = serde_json::to_vec(&header).unwrap();
    let content = b"{\"code\":\"\xff\"}";
    let signature = callboard::wire::Signer::new(KEY).sign([&raw, b"{}", b"{}", content]);
    let frames: [&[u8]; 7] = [b"alice", DELIMITER, signature.as_bytes(), &raw, b"{}", b"{}", content];
    kernel.shell.send(frames.map(<[u8]>::to_vec).to_vec().into());
    let kind = MessageType::ExecuteRequest;
    let sent = Sent { id: header.msg_id, kind, header: raw, identity: ALICE.to_owned() };
    assert_eq!(kernel.refused(Channel::Shell, &sent), "InvalidRequest");
    kernel.answers();
}

#[test]
fn a_wrong_signature_is_dropped() {
    let mut kernel = TestKernel::without_python();
    for channel in ALL {
        let good = signed(KEY, ALICE, [&header("signature"), "{}", "{}", "{}"]);
        let mut changed = good.clone();
        changed[6] = b"{ }".to_vec();
        let mut frames = vec![signed(b"other", ALICE, [&header("other"), "{}", "{}", "{}"]), changed];
        for wrong in [&b""[..], b"00", &[b'0'; 64], &[0xff; 64], &[b'a'; 10_000]] {
            let mut unsigned = good.clone();
            unsigned[2] = wrong.to_vec();
            frames.push(unsigned);
        }
        for frames in frames {
            kernel.line(channel).send(frames.into());
        }
    }
    kernel.answers();
}

#[test]
fn any_number_of_frames_is_taken() {
    let mut kernel = TestKernel::without_python();
    let whole = signed(KEY, ALICE, [&header("frames"), "{}", "{}", "{}"]);
    for channel in ALL {
        for count in 0..whole.len() {
            // The first frames of a message; and as many frames that are nothing at all.
            kernel.line(channel).send(whole[..count].to_vec().into());
            kernel.line(channel).send(vec![Vec::new(); count].into());
            kernel.line(channel).send(vec![DELIMITER.to_vec(); count].into());
        }
        kernel.line(channel).send(vec![b"frame".to_vec(); 1000].into());
    }
    kernel.answers();
}

#[test]
fn dicts_that_are_none_are_dropped() {
    let mut kernel = TestKernel::without_python();
    let good = header("dicts");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for channel in ALL {
        for bad in ["", "nonsense", "[]", "1", "null", "\u{0}", "{", r#"{"msg_id":1}"#, &deep] {
            kernel.line(channel).send_dicts(ALICE, [bad, "{}", "{}", "{}"]);
        }
        for bad in ["", "nonsense", "[]", "1", "null", "\u{0}", "{", "{}}", &deep] {
            kernel.line(channel).send_dicts(ALICE, [&good, bad, "{}", "{}"]);
            kernel.line(channel).send_dicts(ALICE, [&good, "{}", bad, "{}"]);
        }
    }
    kernel.answers();
}

#[test]
fn content_nested_without_end_is_refused() {
    let mut kernel = TestKernel::without_python();
    let deep = format!(r#"{{"code":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let sent = send(&mut kernel, Channel::Shell, "execute_request", &deep);
    assert_eq!(kernel.refused(Channel::Shell, &sent), "InvalidRequest");
    kernel.answers();
}

#[test]
fn a_replayed_message_is_dropped() {
    let mut kernel = TestKernel::start();
    let dicts = [r#"{"msg_id":"1","msg_type":"execute_request"}"#, "{}", "{}", r#"{"code":"ok"}"#];
    kernel.shell.send_dicts(ALICE, dicts);
    let sent = Sent {
        id: "1".into(),
        kind: MessageType::ExecuteRequest,
        header: dicts[0].into(),
        identity: ALICE.to_owned(),
    };
    assert_eq!(kernel.ran(&sent, "ok"), 1);
    kernel.shell.send_dicts(ALICE, dicts);
    kernel.shell.send_dicts("mallory", dicts);
    let sent = kernel.execute("ok");
    assert_eq!(kernel.ran(&sent, "ok"), 2, "nothing has run in between");
}

#[test]
fn only_answers_belong_on_stdin() {
    let mut kernel = TestKernel::start();
    for msg_type in
        ["execute_request", "kernel_info_request", "input_request", "nonsense", "shutdown_request"]
    {
        send(&mut kernel, Channel::Stdin, msg_type, r#"{"code":"print never"}"#);
    }
    kernel.answers();
    let sent = kernel.execute("ok");
    assert_eq!(kernel.ran(&sent, "ok"), 1);
    assert!(kernel.no_act());
}

#[test]
fn what_is_no_subscription_is_dropped_by_iopub() {
    let mut kernel = TestKernel::without_python();
    for frames in [vec![], vec![vec![]], vec![b"\x02topic".to_vec()], vec![b"nonsense".to_vec(); 3]] {
        kernel.iopub.send(frames.into());
    }
    // Someone who leaves is not greeted.
    kernel.iopub.send(vec![b"\x00".to_vec()].into());
    let message = signed(KEY, ALICE, [&header("iopub"), "{}", "{}", "{}"]);
    kernel.iopub.send(message.into());
    kernel.answers();
}

#[test]
fn the_heartbeat_sends_back_whatever_it_gets() {
    let mut kernel = TestKernel::without_python();
    let beats: [Vec<Vec<u8>>; 5] = [
        vec![ALICE.into(), b"ping".to_vec()],
        vec![ALICE.into(), Vec::new(), b"\x00\xff".to_vec()],
        vec![ALICE.into()],
        vec![ALICE.into(), vec![7; 1_000_000]],
        vec![b"frame".to_vec(); 1000],
    ];
    for beat in &beats {
        kernel.heartbeat.send(beat.clone().into());
    }
    for beat in &beats {
        let echo: Frames = kernel.heartbeat.frames("the echo");
        assert!(echo.iter().map(|frame| frame.to_vec()).eq(beat.iter().cloned()), "the frames have changed");
    }
}

#[test]
fn a_request_for_a_kernel_that_is_flooded_with_nonsense_is_answered() {
    let mut kernel = TestKernel::without_python();
    for n in 0..2000 {
        kernel.shell.send(vec![vec![0; n % 50]; n % 9].into());
    }
    let sent = kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {});
    kernel.shell.reply::<KernelInfoReply>(&sent);
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
    let sent = send(&mut kernel, Channel::Shell, "connect_request", "{}");
    kernel.shell.reply::<Value>(&sent);
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
}

/// What is JSON, but no string.
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
        // Not a cell's: it says nothing.
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
fn tags_that_are_none_say_nothing() {
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
    // It is dropped: nobody knows where it belongs.
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
        assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "UnknownSubshell");
        let sent = kernel.ask_to_delete(id);
        assert_eq!(kernel.refused(Channel::Control, &sent), "UnknownSubshell");
    }
}
