//! Clients that come, go, and do not read.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::thread;

use actix::prelude::Actor;
use actix_rt::Runtime;
use callboard::actors::iopub::IoPub;

use callboard::actors::stdin::Withdraw;
use callboard::delivery::job::Channel;
use callboard::os::wake_fd::WakeFd;
use callboard::publisher::{Publisher, Urgency};
use callboard::transport::fake;
use callboard::wire::content::{
    ExecuteReply, InputRequest, IopubWelcome, KernelInfoReply, KernelInfoRequest, Status, StreamName,
};
use callboard::wire::{Parent, Session};
use support::{ALICE, PATIENCE, TestKernel, cell, read};

#[test]
fn a_client_that_has_gone_costs_the_others_nothing() {
    let mut kernel = TestKernel::start();
    let gone = kernel.send(Channel::Shell, "bob", &cell("hold gate"));
    let gate = kernel.held("gate");
    kernel.shell.peer.vanish(b"bob");
    let info = kernel.send(Channel::Shell, "bob", &KernelInfoRequest {});
    let next = kernel.send(Channel::Shell, "alice", &cell("ok"));
    kernel.iopub.busy(&gone);
    kernel.iopub.input(&gone, "hold gate");
    kernel.iopub.busy(&info);
    kernel.iopub.idle(&info);
    drop(gate);
    // The cell ran to its end; only its reply is lost.
    kernel.iopub.idle(&gone);
    assert_eq!(kernel.ran(&next, "ok"), 2);
    kernel.answers();
}

#[test]
fn replies_to_a_client_that_has_gone_are_lost_and_those_behind_them_are_not() {
    let mut kernel = TestKernel::without_python();
    kernel.shell.peer.stall();
    kernel.shell.peer.vanish(b"bob");
    let mut sent = Vec::new();
    for n in 0..200 {
        let identity = if n % 2 == 0 { "bob" } else { "alice" };
        let info = kernel.send(Channel::Shell, identity, &KernelInfoRequest {});
        kernel.iopub.busy(&info);
        kernel.iopub.idle(&info);
        sent.push(info);
    }
    kernel.shell.peer.resume();
    for info in sent.iter().filter(|info| info.identity == "alice") {
        kernel.shell.reply::<KernelInfoReply>(info);
    }
}

#[test]
fn a_prompt_for_a_client_that_has_gone_costs_the_others_nothing() {
    let mut kernel = TestKernel::start();
    kernel.stdin.peer.vanish(b"bob");
    let gone = kernel.send(Channel::Shell, "bob", &cell("hold gate"));
    let gate = kernel.held("gate");
    kernel.iopub.busy(&gone);
    kernel.iopub.input(&gone, "hold gate");
    let never = kernel.ask(&gone.parent(), "never seen");
    let here = kernel.send(Channel::Control, "alice", &cell("hold other"));
    let other = kernel.held("other");
    kernel.iopub.busy(&here);
    kernel.iopub.input(&here, "hold other");
    kernel.ask(&here.parent(), "seen");
    assert_eq!(kernel.stdin.expect::<InputRequest>(&here).prompt, "seen");
    kernel.kernel.withdraw(Withdraw(never));
    drop(gate);
    kernel.iopub.idle(&gone);
    kernel.shell.reply::<ExecuteReply>(&gone);
    drop(other);
    kernel.iopub.idle(&here);
    kernel.control.reply::<ExecuteReply>(&here);
}

#[test]
fn a_prompt_waits_for_a_client_that_is_not_connected_yet() {
    let mut kernel = TestKernel::start();
    kernel.stdin.peer.vanish(b"bob");
    let sent = kernel.send(Channel::Shell, "bob", &cell("hold gate"));
    let gate = kernel.held("gate");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "hold gate");
    kernel.ask(&sent.parent(), "first");
    kernel.ask(&sent.parent(), "second");
    let here = kernel.send(Channel::Control, "alice", &cell("hold other"));
    let other = kernel.held("other");
    kernel.iopub.busy(&here);
    kernel.iopub.input(&here, "hold other");
    kernel.ask(&here.parent(), "mine");
    assert_eq!(kernel.stdin.expect::<InputRequest>(&here).prompt, "mine", "others do not wait");
    kernel.stdin.peer.appear(b"bob");
    for prompt in ["first", "second"] {
        assert_eq!(kernel.stdin.expect::<InputRequest>(&sent).prompt, prompt);
    }
    drop(gate);
    kernel.iopub.idle(&sent);
    kernel.shell.reply::<ExecuteReply>(&sent);
    drop(other);
    kernel.iopub.idle(&here);
    kernel.control.reply::<ExecuteReply>(&here);
}

#[test]
fn every_new_subscriber_is_greeted_with_its_topic() {
    let mut kernel = TestKernel::without_python();
    for topic in ["", "kernel.", "", "\u{1f980}"] {
        kernel.iopub.send(vec![[b"\x01", topic.as_bytes()].concat()].into());
        let welcome = kernel.iopub.message("the welcome");
        assert_eq!(welcome.idents, [topic.as_bytes()], "the greeting goes to the topic");
        assert_eq!(&*welcome.parent, b"{}");
        assert_eq!(read::<IopubWelcome>(&welcome).subscription, topic);
    }
}

#[test]
fn many_subscribers_at_once_are_all_greeted() {
    let mut kernel = TestKernel::without_python();
    for n in 0..500 {
        kernel.iopub.send(vec![format!("\u{1}topic {n}").into_bytes()].into());
    }
    for n in 0..500 {
        let welcome: IopubWelcome = read(&kernel.iopub.message("the welcome"));
        assert_eq!(welcome.subscription, format!("topic {n}"));
    }
}

#[test]
fn a_client_that_does_not_read_its_replies_gets_them_all_in_the_end() {
    let mut kernel = TestKernel::without_python();
    kernel.shell.peer.stall();
    let sent: Vec<_> = (0..500)
        .map(|_| {
            let info = kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {});
            kernel.iopub.busy(&info);
            kernel.iopub.idle(&info);
            info
        })
        .collect();
    // Another channel is not held up.
    let control = kernel.send(Channel::Control, ALICE, &KernelInfoRequest {});
    kernel.control.reply::<KernelInfoReply>(&control);
    kernel.iopub.busy(&control);
    kernel.iopub.idle(&control);
    assert!(kernel.shell.peer.try_recv().is_none());
    kernel.shell.peer.resume();
    for info in &sent {
        kernel.shell.reply::<KernelInfoReply>(info);
    }
}

#[test]
fn a_subscriber_that_does_not_read_holds_back_threads_that_publish() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 40;
    let mut kernel = TestKernel::start_unsigned();
    let sent = kernel.execute("hold gate");
    let gate = kernel.held("gate");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "hold gate");
    kernel.iopub.peer.stall();
    let text = "x".repeat(CHUNK);
    for _ in 0..CHUNKS {
        kernel.kernel.publisher.text(&sent.parent(), StreamName::Stdout, &text);
    }
    assert!(kernel.kernel.publisher.is_congested(Urgency::Output));
    let wake_fd = Arc::new(WakeFd::new().unwrap());
    kernel.kernel.publisher.when_room(Urgency::Output, wake_fd.clone());
    let waiting = thread::spawn(move || wake_fd.wait().unwrap());
    kernel.iopub.peer.resume();
    kernel.iopub.text(&sent, StreamName::Stdout, &"x".repeat(CHUNK * CHUNKS));
    waiting.join().unwrap();
    assert!(!kernel.kernel.publisher.is_congested(Urgency::Output));
    drop(gate);
    kernel.iopub.idle(&sent);
    kernel.shell.reply::<ExecuteReply>(&sent);
}

#[test]
fn messages_of_no_request_have_an_empty_parent() {
    let mut kernel = TestKernel::without_python();
    kernel.kernel.publisher.idle(&Arc::new(Parent::none()));
    let message = kernel.iopub.message("the status");
    assert_eq!(&*message.parent, b"{}");
    read::<Status>(&message);
}

#[test]
fn publications_before_the_first_subscription_wait_for_it() {
    let (iopub, mut peer) = fake::pair();
    let publisher = Publisher::new(Arc::new(Session::new(b"")));
    let runtime = Runtime::new().unwrap();
    publisher.idle(&Arc::new(Parent::none()));
    runtime.block_on(async {
        IoPub::new(iopub, publisher.clone(), PATIENCE).start();
        publisher.idle(&Arc::new(Parent::none()));
        assert!(peer.send(vec![vec![1]].into()));
        for awaited in ["iopub_welcome", "status", "status"] {
            let frames = peer.recv().await.unwrap();
            let topic = frames.iter().next().unwrap().to_vec();
            let topic = String::from_utf8(topic).unwrap();
            assert_eq!(topic.is_empty(), awaited == "iopub_welcome", "{topic}");
        }
    });
}
