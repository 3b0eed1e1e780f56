//! The connection to the database: opening, upgrading and losing it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, JsString, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Event, IdbDatabase, IdbFactory, IdbObjectStore, IdbOpenDbRequest, IdbRequest, IdbTransaction,
    IdbVersionChangeEvent,
};

use super::js::{self, BrowserError};
use super::schema::{self, VERSION};
use crate::{Durability, StoreError};

/// How long opening may take, including the wait for other tabs to close another version.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a transaction may do, and how durable it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    /// Once complete, survives what the durability says.
    Write(Durability),
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Database {
    inner: IdbDatabase,
    is_lost: Rc<Cell<bool>>,
    /// The callback for losing the connection, which works only while it is kept here.
    _on_loss: Closure<dyn FnMut(Event)>,
}

impl Database {
    /// Opens a database, creating it if needed.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if this page may not have a database, [`StoreError::Incompatible`]
    /// if the database is not one of ours or is newer, [`StoreError::Unavailable`] otherwise.
    pub(super) async fn open(name: &str) -> Result<Self, StoreError> {
        let factory: IdbFactory = js::global("indexedDB").map_err(refused)?.unchecked_into();
        let request = factory.open_with_u32(name, VERSION);
        let request = request.map_err(|error| refused(error.into()))?;
        let deadline = js::after(PATIENCE, &JsValue::UNDEFINED);
        loop {
            let events = Array::of2(&next_event(&request), &deadline);
            // Neither promise is ever rejected.
            let event = JsFuture::from(Promise::race(&events)).await;
            let Some(event) = event.ok().and_then(|event| event.dyn_into::<Event>().ok()) else {
                close_when_it_opens(&request);
                return Err(StoreError::unavailable_because(format!(
                    "opening the database: another tab has a different version of it open, or the \
                     browser does not answer: name={name}"
                )));
            };
            match event.type_().as_str() {
                "upgradeneeded" => {
                    let event: IdbVersionChangeEvent = event.unchecked_into();
                    report_loss(name, &event);
                    if let Err(error) = upgrade(&request, event.old_version()) {
                        // A failed upgrade leaves the database as it was.
                        let _ = request.transaction().map(|upgrade| upgrade.abort());
                        return Err(error.during("creating the database"));
                    }
                }
                "success" => {
                    let inner = request.result().map_err(BrowserError::from);
                    let inner = inner.map_err(|error| error.during("opening the database"))?;
                    return Self::of(inner.unchecked_into());
                }
                "error" => return Err(cannot_open(name, error_of(&request))),
                // "blocked": continues when the others have closed it.
                _ => {}
            }
        }
    }

    fn of(inner: IdbDatabase) -> Result<Self, StoreError> {
        let names = inner.object_store_names();
        if names.length() != 3 || schema::ALL.iter().any(|name| !names.contains(name)) {
            let name = inner.name();
            inner.close();
            return Err(StoreError::incompatible(name, "other object stores"));
        }
        let is_lost = Rc::new(Cell::new(false));
        let (lost, database) = (Rc::clone(&is_lost), inner.clone());
        let on_loss = Closure::new(move |_event| {
            // Running transactions still complete. Closing unblocks the tab that is upgrading.
            lost.set(true);
            database.close();
        });
        let callback = Some(on_loss.as_ref().unchecked_ref());
        inner.set_onversionchange(callback);
        inner.set_onclose(callback);
        Ok(Self {
            inner,
            is_lost,
            _on_loss: on_loss,
        })
    }

    /// Whether the connection was closed: for another version, by the browser, or by the user.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    /// Begins a transaction on all object stores.
    pub(super) fn begin(&self, mode: Mode) -> Result<Transaction, BrowserError> {
        let names: Array = schema::ALL.into_iter().map(JsString::from).collect();
        let options = Object::new();
        let (mode, durability) = match mode {
            Mode::Read => ("readonly", "relaxed"),
            Mode::Write(Durability::PowerLoss) => ("readwrite", "strict"),
            Mode::Write(Durability::ProcessCrash) => ("readwrite", "relaxed"),
        };
        Reflect::set(&options, &"durability".into(), &durability.into())?;
        // The typed call does not support options yet.
        let begin = js::method(&self.inner, "transaction")?;
        let inner = begin.call3(&self.inner, &names, &mode.into(), &options)?;
        Ok(Transaction::of(inner.unchecked_into()))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.inner.set_onversionchange(None);
        self.inner.set_onclose(None);
        self.inner.close();
    }
}

/// A transaction, which is undone if dropped before it is committed.
#[derive(Debug)]
pub(super) struct Transaction {
    inner: IdbTransaction,
    end: Option<Promise>,
}

impl Transaction {
    fn of(inner: IdbTransaction) -> Self {
        let (end, keep) = js::promise();
        inner.set_oncomplete(Some(&keep));
        inner.set_onabort(Some(&keep));
        Self {
            inner,
            end: Some(end),
        }
    }

    pub(super) fn store(&self, name: &str) -> Result<IdbObjectStore, BrowserError> {
        Ok(self.inner.object_store(name)?)
    }

    /// Waits until every request is complete and as durable as the mode says.
    ///
    /// # Errors
    /// If the transaction was aborted.
    pub(super) async fn commit(mut self) -> Result<(), BrowserError> {
        let Some(end) = self.end.take() else {
            return Ok(());
        };
        // Saves a turn of the event loop where `commit` is supported. It fails if the transaction
        // was undone, which the end event reports anyway.
        let _ = js::method(&self.inner, "commit").map(|commit| commit.call0(&self.inner));
        let event: Event = JsFuture::from(end).await?.unchecked_into();
        if event.type_() == "complete" {
            return Ok(());
        }
        Err(match self.inner.error() {
            Some(error) => JsValue::from(error).into(),
            None => BrowserError::unnamed("the transaction was aborted"),
        })
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.end.is_some() {
            // Fails if the transaction has ended.
            let _ = self.inner.abort();
        }
    }
}

/// Waits for the answer to a request.
pub(super) async fn answer(request: &IdbRequest) -> Result<JsValue, BrowserError> {
    let (answered, keep) = js::promise();
    request.set_onsuccess(Some(&keep));
    request.set_onerror(Some(&keep));
    JsFuture::from(answered).await?;
    match request.error()? {
        None => Ok(request.result()?),
        Some(error) => Err(JsValue::from(error).into()),
    }
}

fn next_event(request: &IdbOpenDbRequest) -> Promise {
    let (event, keep) = js::promise();
    request.set_onupgradeneeded(Some(&keep));
    request.set_onblocked(Some(&keep));
    request.set_onsuccess(Some(&keep));
    request.set_onerror(Some(&keep));
    event
}

/// Cleans up if an abandoned request is answered after all: nothing stays open or half made.
fn close_when_it_opens(request: &IdbOpenDbRequest) {
    let late = request.clone();
    let close = Closure::once_into_js(move |_event: Event| {
        if let Ok(database) = late.result() {
            database.unchecked_into::<IdbDatabase>().close();
        }
    });
    let late = request.clone();
    let undo = Closure::once_into_js(move |_event: Event| {
        let _ = late.transaction().map(|upgrade| upgrade.abort());
    });
    request.set_onblocked(None);
    request.set_onerror(None);
    request.set_onsuccess(Some(close.unchecked_ref()));
    request.set_onupgradeneeded(Some(undo.unchecked_ref()));
}

/// Logs that the browser found the site's databases damaged and began new ones. Only Chromium
/// reports this, and only to the first open of any of the site's databases.
fn report_loss(name: &str, event: &JsValue) {
    let text = |property| {
        let value = js::get(event, property).ok();
        value.and_then(|value| value.as_string())
    };
    let (loss, why) = (text("dataLoss"), text("dataLossMessage"));
    if loss.is_some_and(|loss| loss != "none") {
        tracing::error!(
            target: "record_cache",
            database = name,
            why,
            "the browser deleted the site's databases because they were damaged; records in them are lost"
        );
    }
}

/// Upgrades from the existing version, 0 if there is none, to [`VERSION`].
fn upgrade(request: &IdbOpenDbRequest, _from: f64) -> Result<(), BrowserError> {
    let database: IdbDatabase = request.result()?.unchecked_into();
    for name in schema::ALL {
        database.create_object_store(name)?;
    }
    Ok(())
}

fn error_of(request: &IdbRequest) -> BrowserError {
    match request.error() {
        Ok(Some(error)) => JsValue::from(error).into(),
        Ok(None) => BrowserError::unnamed("the browser gave no reason"),
        Err(error) => error.into(),
    }
}

fn cannot_open(name: &str, error: BrowserError) -> StoreError {
    if error.is("VersionError") {
        return StoreError::incompatible(name, format!("a version above {VERSION}"));
    }
    // The errors of browsers when a page may not store anything: because of a setting, or in a
    // private window.
    if error.is("SecurityError") || error.is("InvalidStateError") || error.is("NotAllowedError") {
        return refused(error);
    }
    error.during("opening the database")
}

fn refused(error: BrowserError) -> StoreError {
    StoreError::refused("opening the database", error)
}
