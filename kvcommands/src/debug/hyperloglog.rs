//! PFDEBUG and PFSELFTEST: looks into estimates, and tests how they are made.
//!
//! Invariant: what is shown does not change the estimate, though it may change how it is kept, as in Redis.

use kvcore::hooks::Txn;
use kvproto::{Args, CommandError, Reply};

use crate::hyperloglog::estimate::{self, REGISTERS};
use crate::hyperloglog::header::HEADER_BYTES;
use crate::hyperloglog::registers::cardinality_of;
use crate::hyperloglog::sketch::{Form, Sketch, dense_register};
use crate::hyperloglog::{corrupted, form_of, sparse};
use crate::outcome::Outcome;

/// `PFDEBUG ENCODING|DECODE|GETREG|TODENSE key`
pub fn pfdebug(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let (subcommand, key) = (args.next()?, args.next()?);
    let value = txn.get_to_write(key)?.ok_or(CommandError::custom("ERR The specified key does not exist"))?;
    let form = form_of(value)?;
    txn.charge(10 * value.len() as u64)?;
    match subcommand.to_ascii_lowercase().as_slice() {
        b"encoding" => Ok(Reply::simple(if form == Form::Dense { "dense" } else { "sparse" })),
        b"decode" if form == Form::Dense => Err(CommandError::custom("ERR HLL encoding is not sparse").into()),
        b"decode" => {
            // Of a forged value, which may have any length, each byte would be shown as several.
            let sketch = Sketch::read(value.bytes()).ok_or_else(corrupted)?;
            Ok(Reply::bulk(decoded(sketch.bytes())))
        }
        b"getreg" => {
            let (bytes, _) = make_dense(key, txn)?;
            let register = |register| Reply::Integer(dense_register(&bytes, register).into());
            Ok(Reply::Array((0..REGISTERS).map(register).collect()))
        }
        b"todense" => {
            let (_, changed) = make_dense(key, txn)?;
            Ok(Reply::flag(changed))
        }
        _ => Err(CommandError::quoting("ERR Unknown PFDEBUG subcommand '", subcommand, "'").into()),
    }
}

/// Keeps a value in its dense form from now on; its bytes, and whether it was another before.
fn make_dense(key: &[u8], txn: &mut dyn Txn) -> Result<(Vec<u8>, bool), crate::outcome::Failure> {
    let Some(value) = txn.peek(key)? else { return Ok((Vec::new(), false)) };
    if form_of(value)? == Form::Dense {
        return Ok((value.to_vec(), false));
    }
    let (mut sketch, deadline) = (Sketch::read(value.bytes()).ok_or_else(corrupted)?, value.deadline());
    sketch.make_dense().ok_or_else(corrupted)?;
    txn.set(key, sketch.bytes(), deadline)?;
    Ok((sketch.bytes().to_vec(), true))
}

/// The runs of a sparse value: `z:` or `Z:` and how many zeros, `v:` a rank and how many registers hold it.
fn decoded(value: &[u8]) -> String {
    let runs = sparse::runs(value.get(HEADER_BYTES..).unwrap_or_default());
    let shown = runs.map(|run| match (run.rank, run.width) {
        (0, 1) => format!("z:{}", run.length),
        (0, _) => format!("Z:{}", run.length),
        (rank, _) => format!("v:{rank},{}", run.length),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// `PFSELFTEST`
pub fn pfselftest() -> Outcome {
    match self_test() {
        Ok(()) => Ok(Reply::Ok),
        Err(why) => Err(CommandError::custom(format!("ERR TESTFAILED {why}")).into()),
    }
}

/// Each register keeps what it was raised to; and numbers of elements, in either form, are estimated well enough.
fn self_test() -> Result<(), String> {
    let broken = || "a register could not be raised".to_owned();
    let mut sketch = Sketch::new();
    sketch.make_dense().ok_or_else(broken)?;
    let rank_of = |register: usize| (register % 51) as u8 + 1;
    for register in 0..REGISTERS {
        sketch.raise(register, rank_of(register)).ok_or_else(broken)?;
    }
    if let Some(register) = (0..REGISTERS).find(|at| dense_register(sketch.bytes(), *at) != rank_of(*at)) {
        let kept = dense_register(sketch.bytes(), register);
        return Err(format!("Register {register} should be {} but is {kept}", rank_of(register)));
    }
    let (mut grown, mut dense) = (Sketch::new(), Sketch::new());
    dense.make_dense().ok_or_else(broken)?;
    let mut checked = 1;
    for element in 1..=100_000_u64 {
        let (register, rank) = estimate::rank(&element.to_le_bytes());
        grown.raise(register, rank).ok_or_else(broken)?;
        dense.raise(register, rank).ok_or_else(broken)?;
        if element != checked {
            continue;
        }
        let told = cardinality_of(dense.bytes()).ok_or_else(broken)?;
        if cardinality_of(grown.bytes()) != Some(told) {
            return Err(format!("dense and sparse disagree about {element} elements"));
        }
        // Four times the standard error; of a few elements one may be missed.
        let allowed = if element <= 10 { 1 } else { (element as f64 * 4.0 * 1.04 / (REGISTERS as f64).sqrt()) as u64 };
        if told.abs_diff(element) > allowed.max(1) {
            return Err(format!("Too big error. card:{element} estimated:{told}"));
        }
        checked *= 10;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_self_test_passes() {
        assert_eq!(super::self_test(), Ok(()));
    }
}
