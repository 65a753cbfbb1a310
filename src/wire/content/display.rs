//! Displayed objects (Jupyter protocol, "Display Data", "Update Display Data" and "Clear output").

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An object to display.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DisplayData {
    /// The object in several formats, by MIME type.
    pub data: Box<RawValue>,
    /// What describes the formats, such as the size of an image.
    pub metadata: Box<RawValue>,
    /// What holds only while the kernel lives, such as a `display_id` for later updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transient: Option<Box<RawValue>>,
}

/// New content for an object that is displayed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpdateDisplayData {
    /// The object in several formats, by MIME type.
    pub data: Box<RawValue>,
    /// What describes the formats, such as the size of an image.
    pub metadata: Box<RawValue>,
    /// Holds the `display_id` of the display to update.
    pub transient: Box<RawValue>,
}

/// Clears the output of the cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearOutput {
    /// Whether to clear only when the next output comes, against flicker.
    #[serde(default)]
    pub wait: bool,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, refused, round_trip, written};
    use super::*;

    #[test]
    fn a_display_is_read_and_written() {
        let display: DisplayData = round_trip(
            r#"{
                "data": {"text/plain": "3"},
                "metadata": {"image/png": {"width": 640, "height": 480}},
                "transient": {"display_id": "abcd"}
            }"#,
        );
        assert_eq!(display.data.get(), r#"{"text/plain": "3"}"#);
        assert_eq!(display.metadata.get(), r#"{"image/png": {"width": 640, "height": 480}}"#);
        let transient = display.transient.as_deref().map(RawValue::get);
        assert_eq!(transient, Some(r#"{"display_id": "abcd"}"#));
        let display: DisplayData = round_trip(r#"{"data": {}, "metadata": {}}"#);
        assert!(display.transient.is_none());
    }

    #[test]
    fn an_update_is_read_and_written() {
        let update: UpdateDisplayData = round_trip(
            r#"{
                "data": {"text/plain": "4"},
                "metadata": {"a": 1},
                "transient": {"display_id": "abcd"}
            }"#,
        );
        assert_eq!(update.data.get(), r#"{"text/plain": "4"}"#);
        assert_eq!(update.metadata.get(), r#"{"a": 1}"#);
        assert_eq!(update.transient.get(), r#"{"display_id": "abcd"}"#);
        refused::<UpdateDisplayData>(r#"{"data": {}, "metadata": {}}"#);
    }

    #[test]
    fn raw_json_survives_byte_for_byte() {
        let json = concat!(
            r#"{"data":{"b" :  123456789012345678901234567890},"#,
            r#""metadata":{"z":1,  "a":2},"transient":{ "c":1.50 }}"#
        );
        assert_eq!(written(&read::<DisplayData>(json)), json);
        assert_eq!(written(&read::<UpdateDisplayData>(json)), json);
    }

    #[test]
    fn a_clear_is_read_and_written() {
        assert!(round_trip::<ClearOutput>(r#"{"wait": true}"#).wait);
        assert!(!read::<ClearOutput>("{}").wait);
    }
}
