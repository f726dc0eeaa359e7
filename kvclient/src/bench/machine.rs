//! What the report says about the machine, and about the server.
//!
//! Invariant: what cannot be found out is left out; it never fails the load test.

use crate::bench::json::{Machine, Server};
use kvclient::address::Scheme;
use kvclient::{Address, Connection, Error, Reply};
use std::env::consts;
use std::fs;
use std::thread;

/// Returns what is known of this machine.
pub fn machine() -> Machine {
    let first_line = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let kernel = first_line("/proc/sys/kernel/ostype").zip(first_line("/proc/sys/kernel/osrelease"));
    let system = kernel.map_or_else(|| consts::OS.to_owned(), |(name, release)| format!("{name} {release}"));
    Machine {
        cores: thread::available_parallelism().map_or(1, |cores| cores.get()),
        processor: processor().unwrap_or_else(|| consts::ARCH.to_owned()),
        system: format!("{system} {}", consts::ARCH),
        kvclient_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Returns what is known of a server before any of its words is.
pub fn unknown_server(address: &Address) -> Server {
    let protocol = match address.scheme {
        Scheme::Redis => "resp",
        Scheme::Line => "line",
    };
    Server {
        address: address.to_string(),
        protocol: protocol.to_owned(),
        database: address.db,
        software: None,
        version: None,
    }
}

/// Asks the server for its name and version, which shows that it speaks the protocol.
///
/// # Errors
///
/// A message for the user: it does not, or the connection failed.
pub fn describe(client: &mut Connection, address: &Address) -> Result<Server, String> {
    let mut server = unknown_server(address);
    if address.scheme == Scheme::Line {
        // RESP's replies would be values of the line protocol.
        let pong = reply_text(client.command(["PING"])).map_err(|error| error.to_string())?;
        if pong.starts_with(['+', '-', '$', '*']) {
            return Err(format!(
                "{address} does not speak the line protocol but RESP: use redis:// or --protocol resp"
            ));
        }
    }
    let info = reply_text(client.command(["INFO", "server"])).map_err(|error| error.to_string())?;
    for (software, name) in [("kvserver", "kv_version"), ("valkey", "valkey_version"), ("redis", "redis_version")] {
        if let Some(version) = field(&info, name) {
            (server.software, server.version) = (Some(software.to_owned()), Some(version));
            break;
        }
    }
    Ok(server)
}

/// Returns the processor time that the server has used so far, in seconds, if it shows that.
pub fn cpu_seconds(client: &mut Connection) -> Option<f64> {
    let info = reply_text(client.command(["INFO", "cpu"])).ok()?;
    let seconds = |name| field(&info, name)?.parse::<f64>().ok();
    Some(seconds("used_cpu_user")? + seconds("used_cpu_sys")?)
}

/// Returns the value of a field of INFO.
fn field(info: &str, name: &str) -> Option<String> {
    let (_, rest) = info.split_once(&format!("{name}:"))?;
    let value: String =
        rest.chars().take_while(|letter| letter.is_ascii_alphanumeric() || ".-_".contains(*letter)).collect();
    (!value.is_empty()).then_some(value)
}

/// The text of a reply; nothing if the server refuses the command, as it may for a user without permission.
fn reply_text(reply: kvclient::Result<Reply>) -> kvclient::Result<String> {
    match reply {
        Ok(Reply::Bulk(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Ok(Reply::Simple(text)) => Ok(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        Ok(Reply::Verbatim { text, .. }) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Ok(_) => Ok(String::new()),
        Err(Error::Reply(text)) => {
            Ok(if text.contains("NOAUTH") { return Err(Error::Refused { text }) } else { String::new() })
        }
        Err(error) => Err(error),
    }
}
