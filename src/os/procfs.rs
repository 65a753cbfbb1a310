//! Reads `/proc/PID/stat` (proc(5)). Nothing is found where there is no `/proc`.

use std::fs;

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Whether it has ended, and its parent has not waited for it.
    pub is_zombie: bool,
    /// The id of its parent.
    pub parent: u32,
    /// Its processor time, in clock ticks.
    pub ticks: u64,
}

impl Stat {
    /// Reads the state of a process. None if it is gone.
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(stat: &[u8]) -> Option<Self> {
        // The name is in parentheses and may hold anything, parentheses and bytes that are not UTF-8 included.
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let fields: Vec<&str> =
            str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            is_zombie: *fields.first()? == "Z",
            parent: number(1)?.try_into().ok()?,
            ticks: number(11)? + number(12)?,
        })
    }
}

/// The ids of all processes.
pub fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = b"17 (a) R (\xff) Z 5 6 7 0 -1 4194304 1 0 0 0 30 4 0 0 20 0 1 0 100";
        let expected = Stat { is_zombie: true, parent: 5, ticks: 34 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse(b"17 (a) R 1"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found() {
        let me = std::process::id();
        assert!(processes().any(|pid| pid == me));
        let stat = Stat::of(me).unwrap();
        assert!(!stat.is_zombie);
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
    }
}
