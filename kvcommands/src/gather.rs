//! Lists that become replies, of which none may be larger than [`REPLY_BYTES_MAX`].
//!
//! Invariant: no more than [`UNSURVEYED_BYTES_MAX`] of a list is in memory before it is known that all of it fits.

use kvproto::Reply;

use crate::outcome::REPLY_BYTES_MAX;
use crate::outcome::{Failure, reply_too_large};

/// What may be gathered of a list whose size is not known yet, in bytes. Nearly every list is done before.
pub const UNSURVEYED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The elements of a list, as long as there is room for them, and their size.
#[derive(Debug)]
pub struct Gathered {
    items: Vec<Reply>,
    /// Of all elements, also of those that are not kept.
    bytes: usize,
    bytes_max: usize,
}

impl Gathered {
    fn within(bytes_max: usize) -> Gathered {
        Gathered { items: Vec::new(), bytes: 0, bytes_max }
    }

    /// Counts an element of this size. Returns whether it is to be kept.
    fn has_room(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        let fits = self.bytes <= self.bytes_max;
        if !fits {
            self.items = Vec::new();
        }
        fits
    }

    /// Whether the list is too large whatever else it has, so that looking for more is in vain.
    pub fn is_too_large(&self) -> bool {
        self.bytes > REPLY_BYTES_MAX
    }

    /// Adds an element.
    pub fn push(&mut self, item: Reply) {
        if self.has_room(item.payload_bytes()) {
            self.items.push(item);
        }
    }

    /// Adds these bytes as an element. They are copied only if there is room for them.
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.has_room(size_of::<Reply>() + bytes.len()) {
            self.items.push(Reply::bulk(bytes));
        }
    }
}

/// Returns the elements that `fill` adds. If they are many, it is called a second time, and may add others then.
///
/// # Errors
///
/// When they are larger than [`REPLY_BYTES_MAX`], or `fill` fails.
pub fn gather(fill: impl FnMut(&mut Gathered) -> Result<(), Failure>) -> Result<Vec<Reply>, Failure> {
    gather_within(UNSURVEYED_BYTES_MAX, REPLY_BYTES_MAX, fill)
}

fn gather_within(
    unsurveyed_max: usize,
    bytes_max: usize,
    mut fill: impl FnMut(&mut Gathered) -> Result<(), Failure>,
) -> Result<Vec<Reply>, Failure> {
    for most in [unsurveyed_max, bytes_max] {
        let mut gathered = Gathered::within(most);
        fill(&mut gathered)?;
        if gathered.bytes > bytes_max {
            break;
        }
        if gathered.bytes <= most {
            return Ok(gathered.items);
        }
    }
    Err(reply_too_large().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gathers `count` elements of 100 bytes. Returns how many there are, the most that were held, and how often they were
    /// looked at.
    fn gathered(count: usize) -> (Option<usize>, usize, usize) {
        let each = size_of::<Reply>() + 100;
        let (mut most, mut looks) = (0, 0);
        let items = gather_within(10 * each, 50 * each, |gathered| {
            looks += 1;
            for _ in 0..count {
                gathered.bulk(&[b'x'; 100]);
                most = most.max(gathered.items.len());
            }
            Ok(())
        });
        (items.ok().map(|items| items.len()), most, looks)
    }

    #[test]
    fn what_is_too_large_is_not_held_before_it_is_refused() {
        assert_eq!(gathered(10), (Some(10), 10, 1));
        assert_eq!(gathered(11), (Some(11), 11, 2));
        assert_eq!(gathered(50), (Some(50), 50, 2));
        assert_eq!(gathered(51), (None, 10, 1));
        assert_eq!(gathered(5000), (None, 10, 1));
    }

    #[test]
    fn what_grows_between_two_looks_is_refused_all_the_same() {
        let mut length = 20;
        let refused = gather_within(100, 2 * size_of::<Reply>(), |gathered| {
            gathered.bulk(&vec![b'x'; length]);
            length *= 10;
            Ok(())
        });
        assert!(refused.is_ok());
        let mut length = 80;
        let refused = gather_within(100, 4 * size_of::<Reply>(), |gathered| {
            gathered.bulk(&vec![b'x'; length]);
            length *= 10;
            Ok(())
        });
        assert!(refused.is_err());
    }
}
