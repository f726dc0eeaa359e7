//! The form in which DUMP hands a value out and RESTORE takes it back: Redis' RDB encoding of one string, with the
//! format's version and a checksum behind it.
//!
//! A payload is `[type: 1 byte, 0 for a string][string][version: 2 bytes][CRC-64: 8 bytes]`, the last two
//! little-endian; the checksum covers all before it. A string is a length and as many bytes, or an integer of 1, 2 or 4
//! bytes, or compressed by LZF.
//!
//! Invariant: no payload makes decoding panic or reserve more memory than the bytes that are there can fill.

/// What DUMP writes: Redis 7.0 reads up to this.
const VERSION_WRITTEN: u16 = 10;
/// What RESTORE reads at most: Redis 7.2's.
const VERSION_READ_MAX: u16 = 11;
const STRING_TYPE: u8 = 0;
/// Version and checksum.
const FOOTER_BYTES: usize = 2 + 8;

/// In the two highest bits of a length's first byte.
const LEN_6_BITS: u8 = 0;
const LEN_14_BITS: u8 = 1;
const LEN_SPECIAL: u8 = 3;
/// The whole first byte.
const LEN_32_BITS: u8 = 0x80;
const LEN_64_BITS: u8 = 0x81;
/// Low bits of a first byte with [`LEN_SPECIAL`].
const INT_8: u8 = 0;
const INT_16: u8 = 1;
const INT_32: u8 = 2;
const LZF: u8 = 3;

/// A compressed byte stands for fewer than this many: three make at most 264.
const LZF_GAIN_MAX: usize = 88;

/// Why a payload was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its version is too new, or it was changed on the way.
    Footer,
    /// It holds no string, or a broken one.
    Format,
}

/// The payload for a value. Long values are not compressed, which every reader accepts.
pub fn encode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 16 + FOOTER_BYTES);
    out.push(STRING_TYPE);
    encode_string(value, &mut out);
    out.extend_from_slice(&VERSION_WRITTEN.to_le_bytes());
    let crc = crc64(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// How many bytes a value takes in this form, without what stands around it.
pub fn encoded_len(value: &[u8]) -> usize {
    match kvproto::parse_integer(value).map(i32::try_from) {
        Some(Ok(number)) if i8::try_from(number).is_ok() => 2,
        Some(Ok(number)) if i16::try_from(number).is_ok() => 3,
        Some(Ok(_)) => 5,
        _ => {
            value.len()
                + if value.len() < 1 << 6 {
                    1
                } else if value.len() < 1 << 14 {
                    2
                } else {
                    5
                }
        }
    }
}

fn encode_string(value: &[u8], out: &mut Vec<u8>) {
    if let Some(Ok(number)) = kvproto::parse_integer(value).map(i32::try_from) {
        let special = |kind| LEN_SPECIAL << 6 | kind;
        if let Ok(small) = i8::try_from(number) {
            out.push(special(INT_8));
            out.extend_from_slice(&small.to_le_bytes());
        } else if let Ok(small) = i16::try_from(number) {
            out.push(special(INT_16));
            out.extend_from_slice(&small.to_le_bytes());
        } else {
            out.push(special(INT_32));
            out.extend_from_slice(&number.to_le_bytes());
        }
        return;
    }
    match (u8::try_from(value.len()), u16::try_from(value.len()), u32::try_from(value.len())) {
        (Ok(len), ..) if len < 1 << 6 => out.push(LEN_6_BITS << 6 | len),
        (_, Ok(len), _) if len < 1 << 14 => out.extend_from_slice(&(u16::from(LEN_14_BITS) << 14 | len).to_be_bytes()),
        (.., Ok(len)) => {
            out.push(LEN_32_BITS);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(LEN_64_BITS);
            out.extend_from_slice(&(value.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
}

/// The value in a payload, of at most `bytes_max` bytes.
pub fn decode(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let (body, crc) = payload.split_last_chunk::<8>().ok_or(Refusal::Footer)?;
    let (body, version) = body.split_last_chunk::<2>().ok_or(Refusal::Footer)?;
    if u16::from_le_bytes(*version) > VERSION_READ_MAX
        || crc64(&payload[..payload.len() - 8]) != u64::from_le_bytes(*crc)
    {
        return Err(Refusal::Footer);
    }
    // As in Redis, what follows the value is not looked at.
    match body.split_first() {
        Some((&STRING_TYPE, string)) => decode_string(string, bytes_max).ok_or(Refusal::Format),
        _ => Err(Refusal::Format),
    }
}

/// Returns how long the value of a payload will be when it has been unpacked, if the payload is right; 0 if it is not packed.
pub fn unpacked_len(payload: &[u8]) -> usize {
    let claimed = || {
        let mut input = payload.get(1..)?;
        let Length::Special(LZF) = length(&mut input)? else { return None };
        plain_length(&mut input)?;
        plain_length(&mut input)
    };
    claimed().unwrap_or(0).min(payload.len().saturating_mul(LZF_GAIN_MAX))
}

/// A length, or the kind of what follows instead of bytes.
enum Length {
    Bytes(usize),
    Special(u8),
}

fn take<'b>(input: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(taken)
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*taken)
}

fn length(input: &mut &[u8]) -> Option<Length> {
    let [first] = take_array(input)?;
    Some(match first >> 6 {
        LEN_6_BITS => Length::Bytes(usize::from(first & 0x3f)),
        LEN_14_BITS => Length::Bytes(usize::from(first & 0x3f) << 8 | usize::from(take_array::<1>(input)?[0])),
        LEN_SPECIAL => Length::Special(first & 0x3f),
        _ if first == LEN_32_BITS => Length::Bytes(u32::from_be_bytes(take_array(input)?) as usize),
        _ if first == LEN_64_BITS => Length::Bytes(usize::try_from(u64::from_be_bytes(take_array(input)?)).ok()?),
        _ => return None,
    })
}

fn plain_length(input: &mut &[u8]) -> Option<usize> {
    match length(input)? {
        Length::Bytes(count) => Some(count),
        Length::Special(_) => None,
    }
}

fn decode_string(mut input: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let number = match length(&mut input)? {
        Length::Bytes(count) if count <= bytes_max => return take(&mut input, count).map(<[u8]>::to_vec),
        Length::Special(INT_8) => i32::from(i8::from_le_bytes(take_array(&mut input)?)),
        Length::Special(INT_16) => i32::from(i16::from_le_bytes(take_array(&mut input)?)),
        Length::Special(INT_32) => i32::from_le_bytes(take_array(&mut input)?),
        Length::Special(LZF) => {
            let compressed = plain_length(&mut input)?;
            let count = plain_length(&mut input)?;
            return if count <= bytes_max { decompress(take(&mut input, compressed)?, count) } else { None };
        }
        _ => return None,
    };
    Some(number.to_string().into_bytes())
}

/// LZF: a byte below 32 begins that many bytes and one more as they are; any other refers to bytes already seen, its
/// three highest bits (and, if they are all set, a byte more) telling how many, the rest and the next byte how far back.
fn decompress(mut input: &[u8], count: usize) -> Option<Vec<u8>> {
    if count > input.len().saturating_mul(LZF_GAIN_MAX) {
        return None;
    }
    let mut out = Vec::with_capacity(count);
    while let Some([control]) = take_array(&mut input) {
        if control < 32 {
            out.extend_from_slice(take(&mut input, usize::from(control) + 1)?);
        } else {
            let mut len = usize::from(control >> 5);
            if len == 7 {
                len += usize::from(take_array::<1>(&mut input)?[0]);
            }
            let back = usize::from(control & 0x1f) << 8 | usize::from(take_array::<1>(&mut input)?[0]);
            let from = out.len().checked_sub(back + 1)?;
            // The bytes referred to may include those being written.
            for at in from..from + len + 2 {
                out.push(*out.get(at)?);
            }
        }
        if out.len() > count {
            return None;
        }
    }
    (out.len() == count).then_some(out)
}

/// CRC-64 with Jones' polynomial, bits reversed, begun with 0 and not inverted.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const JONES_REVERSED: u64 = 0x95ac_9329_ac4b_c9b5;

static CRC_TABLE: [u64; 256] = crc_table();

const fn crc_table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ JONES_REVERSED } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests;
