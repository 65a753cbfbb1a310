//! A panic on a thread that serves sockets ends the process with a message.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use actix::prelude::*;
use callboard::os;

const CHILD: &str = "CALLBOARD_TEST_PANICS";

struct Faulty;

impl Actor for Faulty {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Fail;

impl Handler<Fail> for Faulty {
    type Result = ();

    fn handle(&mut self, _: Fail, _: &mut Self::Context) {
        panic!("the moon is full");
    }
}

/// Not a test of its own: what the child process of the test below runs.
fn be_a_kernel_with_a_bug() {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
    os::panic::install(os::terminal::Terminal::new(File::from(stderr)));
    let system = System::new();
    system.block_on(async {
        os::panic::mark_thread();
        Faulty.start().send(Fail).await.unwrap_or_else(|error| panic!("still here: {error}"));
    });
}

#[test]
fn a_panic_in_an_actor_ends_the_process_with_a_message() {
    if std::env::var_os(CHILD).is_some() {
        return be_a_kernel_with_a_bug();
    }
    let name = "a_panic_in_an_actor_ends_the_process_with_a_message";
    let child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(os::panic::EXIT_CODE), "{told}");
    assert!(told.contains("the moon is full") && told.contains("restart"), "{told}");
}
