//! The greeting on iopub (JEP 65; Jupyter protocol, "Welcome message").

use serde::{Deserialize, Serialize};

/// Greets a new subscriber of iopub: from here on it gets every message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IopubWelcome {
    /// The topic that was subscribed to; empty for all topics.
    pub subscription: String,
}

#[cfg(test)]
mod tests {
    use super::super::sample::round_trip;
    use super::*;

    #[test]
    fn a_welcome_is_read_and_written() {
        let welcome: IopubWelcome = round_trip(r#"{"subscription": "status"}"#);
        assert_eq!(welcome.subscription, "status");
        assert_eq!(round_trip::<IopubWelcome>(r#"{"subscription": ""}"#).subscription, "");
    }
}
