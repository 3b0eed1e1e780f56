//! Opens a store: reads its log into an index, and repairs both.

use std::sync::Arc;

use super::group::Group;
use super::mend::note_rebuilt;
use super::overlap::Syncer;
use super::shared::Shared;
use super::writer::{Pace, Writer};
use super::{Settings, reader, spawn};
use crate::index::{Entry, Found, Indexes};
use crate::log::catalog::lock;
use crate::log::end::{Log, refused};
use crate::log::files::Disk;
use crate::log::open::{self, Layout};
use crate::log::reserve::Reserve;
use crate::log::{Failure, directory};
use crate::{StoreError, StreamName, clock};

/// Reads the directory and prepares it for writing.
pub(super) fn prepare(
    shared: &Arc<Shared>,
    settings: &Settings,
    mut indexes: Box<dyn Indexes>,
    disk: Arc<dyn Disk>,
) -> Result<Writer, StoreError> {
    let failed = |error| refused(&*disk, "cannot open the log", "", error);
    // Refuses other versions before opening an index, which writes to the directory.
    let files = Layout::find(&*disk)?;
    let began = clock::monotonic();
    let alive = || shared.requests.sign();
    let mut found = indexes.open();
    let layout = open::prepare(&*disk, settings.durability, files).map_err(failed)?;
    let mut broken = None;
    let (opened, stranded) = loop {
        let opened = open::open(&*disk, settings.durability, &layout, found, &alive);
        let opened = opened.and_then(|mut opened| {
            let stranded = opened.catalog.current(&opened.stranded)?;
            Ok((opened, stranded))
        });
        match opened {
            Ok(opened) => break opened,
            Err(Failure::Store(error)) => return Err(error),
            Err(Failure::Disk(error)) => return Err(failed(error)),
            Err(Failure::Index(reason)) => {
                broken.get_or_insert(reason);
                let index = indexes.fresh();
                found = Found { index, kept: None };
            }
        }
    };
    if let Some(broken) = &broken {
        note_rebuilt(&settings.path, broken, began, 0);
    }
    let log = Log::new(
        disk,
        Arc::clone(&shared.catalog),
        settings.durability,
        settings.segment_bytes,
        opened.continuation,
    );
    *lock(&shared.catalog) = opened.catalog;
    *lock(&shared.counters) = opened.counters;
    let mut writer = Writer {
        shared: Arc::clone(shared),
        reserve: Reserve::find(&*log.disk),
        indexes,
        log,
        rest: 0,
        group: Group::default(),
        syncer: Syncer::default(),
        pace: Pace::default(),
        looked: clock::monotonic(),
        directory_lost: false,
    };
    writer.recover(&stranded, opened.must_restate, &layout.needless)?;
    if !writer.indexes.keep_files() {
        directory::remove_indexes(&*writer.log.disk);
    }
    let shared = Arc::clone(shared);
    spawn("record-cache-reader", move || reader::run(&shared))?;
    Ok(writer)
}

impl Writer {
    /// Writes what opening found missing or misplaced, and deletes what is no longer needed.
    fn recover(
        &mut self,
        stranded: &[(StreamName, Entry)],
        must_restate: bool,
        needless: &[u32],
    ) -> Result<(), StoreError> {
        if !must_restate {
            needless.iter().for_each(|number| self.delete(*number));
        }
        if !stranded.is_empty() || self.log.must_rewrite() {
            // In one group, because it moves the end of the last segment.
            self.in_need(|writer| writer.carry(stranded))?;
            self.mend()?;
        } else if must_restate {
            // The new group states where the last segment ends.
            let restated = self.log.commit(&[], self.log.durability);
            if restated.is_err() {
                return Ok(());
            }
        } else if lock(&self.shared.counters).damaged_records > 0 {
            // Records the loss, so it is counted only once. Without space, it is counted again.
            let _ = self.log.commit(&[], self.log.durability);
        }
        if must_restate {
            needless.iter().for_each(|number| self.delete(*number));
        }
        self.keep_house();
        Ok(())
    }
}
