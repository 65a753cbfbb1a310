//! Messages of the wrong form or type.

use super::BOTH;
use crate::support::{ALICE, KEY, Sent, TestKernel, signed};
use callboard::delivery::job::Channel;
use callboard::wire::content::{KernelInfoReply, KernelInfoRequest};
use callboard::wire::{DELIMITER, Frames, MessageType};
use serde_json::Value;

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
            // The first frames of a message, and as many without meaning.
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
fn iopub_drops_other_messages_than_subscriptions() {
    let mut kernel = TestKernel::without_python();
    for frames in [vec![], vec![vec![]], vec![b"\x02topic".to_vec()], vec![b"nonsense".to_vec(); 3]] {
        kernel.iopub.send(frames.into());
    }
    // The end of a subscription is not greeted.
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
fn a_kernel_that_is_flooded_with_nonsense_answers_requests() {
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
