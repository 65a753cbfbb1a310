//! The lower limit of round trips: a kernel that only echoes.
//!
//! Binds the sockets of a connection file like a kernel (ROUTER for shell and control, XPUB for iopub, and the heartbeat)
//! and answers each request with its own header as parent, between `busy` and `idle`; messages of comms are
//! sent back. It parses, verifies and signs nothing and runs no Python, so its round trip is that of libzmq, the system
//! and the client. `scripts/bench` measures it with the same client and in the same rounds as the kernels.
//!
//! usage: `bare_echo -f CONNECTION_FILE`

use std::error::Error;

/// The end of the routing frames of a message.
const DELIMITER: &[u8] = b"<IDS|MSG>";

/// How many messages may wait: any number, since the client sends thousands before it reads.
const NO_LIMIT: i32 = 0;

/// The frames of a message of this type, with the header of its request as parent.
fn message<'a>(routing: &[&'a [u8]], header: &'a [u8], parent: &'a [u8], content: &'a [u8]) -> Vec<&'a [u8]> {
    let mut frames = routing.to_vec();
    frames.extend([DELIMITER, b"", header, parent, b"{}", content]);
    frames
}

/// Answers the request that waits on `socket`.
fn answer(socket: &zmq::Socket, iopub: &zmq::Socket) -> Result<(), Box<dyn Error>> {
    let mut request = vec![socket.recv_msg(0)?];
    while request.last().is_some_and(zmq::Message::get_more) {
        request.push(socket.recv_msg(0)?);
    }
    let Some(end) = request.iter().position(|frame| **frame == *DELIMITER) else {
        return Err("a request without <IDS|MSG>".into());
    };
    // Behind the delimiter: signature, header, parent, metadata, content, buffers.
    let buffers = request.split_off(request.len().min(end + 6));
    let [_, parent, _, _, content] = &request[end + 1..] else {
        return Err("a request with too few frames".into());
    };
    let is = |kind: &[u8]| parent.windows(kind.len()).any(|part| part == kind);
    let routing: Vec<&[u8]> = request[..end].iter().map(|frame| &**frame).collect();
    let topic: &[&[u8]] = &[b"status"];
    let status = br#"{"msg_type":"status"}"#;
    let publish = |header, content| iopub.send_multipart(message(topic, header, parent, content), 0);

    publish(status, br#"{"execution_state":"busy"}"#)?;
    if is(b"comm_msg") {
        // The buffers are moved, not copied.
        let frames = message(topic, br#"{"msg_type":"comm_msg"}"#, parent, content);
        let frames = frames.into_iter().map(zmq::Message::from).chain(buffers);
        iopub.send_multipart(frames, 0)?;
    } else {
        let reply: &[u8] = if is(b"execute_request") {
            publish(br#"{"msg_type":"execute_input"}"#, br#"{"code":"pass","execution_count":1}"#)?;
            br#"{"msg_type":"execute_reply"}"#
        } else {
            br#"{"msg_type":"kernel_info_reply"}"#
        };
        socket
            .send_multipart(message(&routing, reply, parent, br#"{"status":"ok","execution_count":1}"#), 0)?;
    }
    publish(status, br#"{"execution_state":"idle"}"#)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(2).ok_or("usage: bare_echo -f CONNECTION_FILE")?;
    let connection: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let context = zmq::Context::new();
    let bind = |kind, port: &str| -> Result<zmq::Socket, Box<dyn Error>> {
        let socket = context.socket(kind)?;
        socket.set_linger(0)?;
        socket.set_sndhwm(NO_LIMIT)?;
        socket.set_rcvhwm(NO_LIMIT)?;
        let port = connection[port].as_u64().ok_or_else(|| format!("the connection file has no {port}"))?;
        socket.bind(&format!("tcp://127.0.0.1:{port}"))?;
        Ok(socket)
    };
    let iopub = bind(zmq::XPUB, "iopub_port")?;
    let shell = bind(zmq::ROUTER, "shell_port")?;
    let control = bind(zmq::ROUTER, "control_port")?;
    let heartbeat = bind(zmq::ROUTER, "hb_port")?;
    loop {
        let mut ready = [&control, &shell, &heartbeat, &iopub].map(|socket| socket.as_poll_item(zmq::POLLIN));
        zmq::poll(&mut ready, -1)?;
        let [of_control, of_shell, of_heartbeat, of_iopub] = ready.map(|item| item.is_readable());
        if of_control {
            answer(&control, &iopub)?;
        }
        if of_shell {
            answer(&shell, &iopub)?;
        }
        if of_heartbeat {
            heartbeat.send_multipart(heartbeat.recv_multipart(0)?, 0)?;
        }
        if of_iopub {
            iopub.recv_multipart(0)?; // a subscription, which libzmq has applied
        }
    }
}
