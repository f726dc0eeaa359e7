//! `--scan`: prints the keys, one a line.
//!
//! Invariant: raw output holds nothing but the keys, and behind each the end of a line or what `-D` says; every other style writes a key on one line whatever
//! bytes it has.

use super::flags::ModeFlags;
use super::walk::Scan;
use super::{Result, Setting, note_summary};
use crate::output::Style;
use kvclient::Reply;
use kvproto::OwnedRequest;

/// Prints the keys as SCAN returns them: a key may come twice while the table grows. Returns whether these are all.
pub fn run(flags: &ModeFlags, setting: &Setting<'_>) -> Result<bool> {
    let mut output = setting.output.clone();
    if flags.quoted {
        output.set_style(Style::Pretty);
    }
    let request = OwnedRequest::from_words(["SCAN"]);
    let mut link = setting.connect()?;
    let mut walk = Scan::begin(&mut link, flags, setting, false)?;
    let mut rendered = Vec::new();
    while let Some(keys) = walk.next(&mut link)? {
        for key in keys {
            output.render(request.as_request(), &Reply::bulk(key), &mut rendered);
        }
        output.write(&rendered)?;
        rendered.clear();
    }
    if !walk.is_complete() {
        note_summary(&format!("kvclient: interrupted after {} keys; --cursor {} goes on", walk.keys, walk.cursor()));
    }
    Ok(walk.is_complete())
}
