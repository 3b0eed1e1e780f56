//! Appends to one file, which no store can beat by much.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::gather::Gather;
use super::terms::{Group, Promise};

/// The most slices that the operating system takes in one call.
const MAX_SLICES: usize = 1024;

pub(super) fn start(directory: &Path, promise: Promise) -> Result<Arc<Gather>> {
    let mut file = File::create(directory.join("raw"))?;
    Gather::start(Group::All, move |gather| {
        gather.serve(|records| {
            for records in records.chunks(MAX_SLICES) {
                let mut slices: Vec<_> = records.iter().map(|data| IoSlice::new(data)).collect();
                write_all(&mut file, &mut slices)?;
            }
            if promise == Promise::PowerLoss {
                file.sync_data()?;
            }
            Ok(())
        })
    })
}

fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices)? {
            0 => bail!("the write stopped short: is the disk full?"),
            written => IoSlice::advance_slices(&mut slices, written),
        }
    }
    Ok(())
}
