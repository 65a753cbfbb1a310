//! The kernel's use of processor and memory (ipykernel's extension, `usage_request` in its
//! `kernelbase.py`).

use serde::{Deserialize, Serialize};

use super::reply;

/// Asks for the kernel's use of processor and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRequest {}

/// The kernel's use of processor and memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageReply {
    /// Always `"ok"`. The protocol has it in every reply; ipykernel leaves it out of this one.
    #[serde(default)]
    pub status: reply::Ok,
    /// The name of the host.
    pub hostname: String,
    /// The kernel's process id.
    pub pid: u32,
    /// Processor time of the kernel and its child processes since the last request, in percent of
    /// one processor.
    pub kernel_cpu: f64,
    /// Memory of the kernel and its child processes, in bytes: the proportional set size where the
    /// system knows it, else the resident set size.
    pub kernel_memory: u64,
    /// Processor time of the whole host since the last request, in percent of all processors;
    /// absent while unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_cpu_percent: Option<f64>,
    /// The number of the host's logical processors.
    pub cpu_count: u64,
    /// The memory of the host.
    pub host_virtual_memory: HostVirtualMemory,
}

/// The memory of a host, the fields that `psutil.virtual_memory()` has on every system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostVirtualMemory {
    /// All of it, in bytes.
    pub total: u64,
    /// What a process can get without swapping, in bytes.
    pub available: u64,
    /// What is not available, in percent of the total.
    pub percent: f64,
    /// What is in use, in bytes.
    pub used: u64,
    /// What is not used at all, in bytes.
    pub free: u64,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip};
    use super::*;

    #[test]
    fn a_request_is_empty() {
        assert_eq!(round_trip::<UsageRequest>("{}"), read(r#"{"unknown": 1}"#));
    }

    #[test]
    fn a_reply_is_read_and_written() {
        let reply: UsageReply = round_trip(
            r#"{
                "status": "ok",
                "hostname": "host",
                "pid": 7417,
                "kernel_cpu": 12.5,
                "kernel_memory": 87573504,
                "host_cpu_percent": 66.7,
                "cpu_count": 2,
                "host_virtual_memory": {
                    "total": 25276510208,
                    "available": 24831127552,
                    "percent": 1.8,
                    "used": 445382656,
                    "free": 24850673664
                }
            }"#,
        );
        let expected = UsageReply {
            status: reply::Ok,
            hostname: "host".to_owned(),
            pid: 7417,
            kernel_cpu: 12.5,
            kernel_memory: 87_573_504,
            host_cpu_percent: Some(66.7),
            cpu_count: 2,
            host_virtual_memory: HostVirtualMemory {
                total: 25_276_510_208,
                available: 24_831_127_552,
                percent: 1.8,
                used: 445_382_656,
                free: 24_850_673_664,
            },
        };
        assert_eq!(reply, expected);
    }

    #[test]
    fn a_reply_of_ipykernel_is_read() {
        let reply: UsageReply = read(
            r#"{
                "hostname": "host", "pid": 1, "kernel_cpu": 0.0, "kernel_memory": 0, "cpu_count": 2,
                "host_virtual_memory": {
                    "total": 1, "available": 1, "percent": 0, "used": 0, "free": 1, "slab": 0
                }
            }"#,
        );
        assert_eq!(reply.host_cpu_percent, None);
        assert_eq!(reply.host_virtual_memory.free, 1);
    }
}
