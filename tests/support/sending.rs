//! Requests that a client sends to the kernel.

use std::sync::Arc;

use super::ALICE;
use super::kernel::TestKernel;
use super::line::{Sent, read};
use super::python::Held;
use callboard::actors::stdin::{Answer, Ask};
use callboard::delivery::job::Channel;
use callboard::kernel::{self};
use callboard::wire::content::{
    Content, CreateSubshellReply, CreateSubshellRequest, DeleteSubshellReply, DeleteSubshellRequest,
    ExecuteRequest, InputRequest, KernelInfoReply, KernelInfoRequest, ListSubshellReply, ListSubshellRequest,
    reply,
};
use callboard::wire::{EMPTY_OBJECT, Frames, Header, MessageType, Outgoing, Parent};
use serde_json::{Value, json};

/// A cell with the defaults of the protocol.
pub fn cell(code: &str) -> ExecuteRequest {
    ExecuteRequest {
        code: code.to_owned(),
        silent: false,
        store_history: None,
        user_expressions: std::collections::BTreeMap::new(),
        allow_stdin: true,
        stop_on_error: true,
    }
}

impl Sent {
    /// The parent that the kernel makes of the request.
    pub fn parent(&self) -> Arc<Parent> {
        Arc::new(Parent {
            raw_header: self.header.clone(),
            msg_id: self.id.clone(),
            idents: vec![self.identity.clone().into_bytes()],
            ..Parent::none()
        })
    }
}

impl TestKernel {
    /// Sends a message whose content is a type of the protocol.
    #[track_caller]
    pub fn send<C: Content>(&mut self, channel: Channel, identity: &str, content: &C) -> Sent {
        let header = self.session.header(&C::TYPE);
        self.send_as(channel, identity, &header, content)
    }

    /// Like [`TestKernel::send`], with a header that the test has made.
    #[track_caller]
    pub fn send_as<C: Content>(
        &mut self,
        channel: Channel,
        identity: &str,
        header: &Header,
        content: &C,
    ) -> Sent {
        let (sent, frames) = self.encode(identity, header, content);
        self.line(channel).send(frames);
        sent
    }

    /// Alice sends these dicts, valid or not; `kind` is the type that the header names.
    #[track_caller]
    pub fn send_raw(
        &mut self,
        channel: Channel,
        kind: MessageType,
        header: &Value,
        metadata: &Value,
        content: &Value,
    ) -> Sent {
        let raw = header.to_string();
        self.line(channel).send_dicts(ALICE, [&raw, "{}", &metadata.to_string(), &content.to_string()]);
        let id = header["msg_id"].as_str().unwrap_or_default().to_owned();
        Sent { id, kind, header: raw.into_bytes(), identity: ALICE.to_owned() }
    }

    /// Like [`TestKernel::send_as`], with metadata.
    #[track_caller]
    pub fn send_with<C: Content>(
        &mut self,
        channel: Channel,
        header: &Header,
        metadata: &Value,
        content: &C,
    ) -> Sent {
        let (sent, frames) = self.encode_with(ALICE, header, metadata, content);
        self.line(channel).send(frames);
        sent
    }

    /// The frames of a message, to send later.
    pub fn encode<C: Content>(&self, identity: &str, header: &Header, content: &C) -> (Sent, Frames) {
        self.encode_with(identity, header, &json!({}), content)
    }

    fn encode_with<C: Content>(
        &self,
        identity: &str,
        header: &Header,
        metadata: &Value,
        content: &C,
    ) -> (Sent, Frames) {
        let frames = self.session.encode_with_header(
            header,
            Outgoing {
                idents: &[identity.as_bytes().to_vec()],
                kind: &C::TYPE,
                parent: EMPTY_OBJECT,
                metadata: serde_json::to_vec(metadata).unwrap().into(),
                content: serde_json::to_vec(content).unwrap(),
                buffers: Vec::new(),
            },
        );
        let sent = Sent {
            id: header.msg_id.clone(),
            kind: C::TYPE,
            header: serde_json::to_vec(header).unwrap(),
            identity: identity.to_owned(),
        };
        (sent, frames)
    }

    /// Alice sends a cell on shell.
    #[track_caller]
    pub fn execute(&mut self, code: &str) -> Sent {
        self.send(Channel::Shell, ALICE, &cell(code))
    }

    /// Alice sends a cell on shell to a subshell.
    #[track_caller]
    pub fn execute_in(&mut self, subshell_id: &str, code: &str) -> Sent {
        let header = self.header_in(Some(subshell_id), &MessageType::ExecuteRequest);
        self.send_as(Channel::Shell, ALICE, &header, &cell(code))
    }

    /// A header that names a subshell.
    pub fn header_in(&self, subshell_id: Option<&str>, kind: &MessageType) -> Header {
        Header { subshell_id: subshell_id.map(str::to_owned), ..self.session.header(kind) }
    }

    /// Makes a subshell, by control. Returns its id.
    #[track_caller]
    pub fn create_subshell(&mut self) -> String {
        let sent = self.send(Channel::Control, ALICE, &CreateSubshellRequest {});
        let CreateSubshellReply { subshell_id, .. } = self.control.reply(&sent);
        self.iopub.busy(&sent);
        self.iopub.idle(&sent);
        subshell_id
    }

    /// Deletes a subshell, by control; aborted cells are published before the reply is.
    #[track_caller]
    pub fn delete_subshell(&mut self, subshell_id: &str) {
        let sent = self.ask_to_delete(subshell_id);
        self.control.reply::<DeleteSubshellReply>(&sent);
        self.iopub.busy(&sent);
        self.iopub.idle(&sent);
    }

    /// Asks for the end of a subshell, by control.
    #[track_caller]
    pub fn ask_to_delete(&mut self, subshell_id: &str) -> Sent {
        let request = DeleteSubshellRequest { subshell_id: subshell_id.to_owned() };
        self.send(Channel::Control, ALICE, &request)
    }

    /// The ids of the subshells, by control.
    #[track_caller]
    pub fn subshells(&mut self) -> Vec<String> {
        let sent = self.send(Channel::Control, ALICE, &ListSubshellRequest {});
        let ListSubshellReply { subshell_id, .. } = self.control.reply(&sent);
        self.iopub.busy(&sent);
        self.iopub.idle(&sent);
        subshell_id
    }

    /// Sends a cell that holds its thread; when this returns, it does.
    #[track_caller]
    pub fn hold(&mut self, subshell_id: Option<&str>, code: &str) -> (Sent, Held) {
        let sent = match subshell_id {
            Some(id) => self.execute_in(id, code),
            None => self.execute(code),
        };
        let held = self.next_held();
        assert!(code.ends_with(&held.name), "{} is held, and not {code}", held.name);
        self.iopub.busy(&sent);
        self.iopub.input(&sent, code);
        (sent, held)
    }

    /// Releases a cell, which runs to its end.
    #[track_caller]
    pub fn release(&mut self, sent: &Sent, held: Held) {
        drop(held);
        self.iopub.idle(sent);
        assert_eq!(self.shell.replies(&[sent]), ["ok"]);
    }

    /// Waits until all messages of shell have reached their actors: shell is read in order.
    #[track_caller]
    pub fn all_has_arrived(&mut self) {
        let sent = self.send(Channel::Shell, ALICE, &KernelInfoRequest {});
        self.shell.reply::<KernelInfoReply>(&sent);
        self.iopub.busy(&sent);
        self.iopub.idle(&sent);
    }

    /// Asks a client for a line, as code that runs for a request does.
    pub fn ask(&self, parent: &Arc<Parent>, prompt: &str) -> Arc<Answer> {
        let answer = Arc::new(Answer::new().unwrap());
        let content = InputRequest { prompt: prompt.to_owned(), password: false };
        self.kernel.ask(Ask { parent: parent.clone(), content, answer: answer.clone() });
        answer
    }
}
