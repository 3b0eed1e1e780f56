//! Browser functions without a typed binding, and conversion of the browser's errors.

use std::time::Duration;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::StoreError;

/// A browser error as text. Unlike a JavaScript value, it may be sent to any thread.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{name}: {message}")]
pub(super) struct BrowserError {
    name: String,
    message: String,
}

impl BrowserError {
    /// An error for which the browser gave no name.
    pub(super) fn unnamed(message: impl Into<String>) -> Self {
        Self::named("Error", message)
    }

    pub(super) fn named(name: &str, message: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Whether the site has used up the space the browser grants it.
    pub(super) fn is_quota(&self) -> bool {
        self.is("QuotaExceededError")
    }

    /// Whether a stored value is lost, although its key is still there: browsers keep large values
    /// in files of their own. The first name is the specification's, the second was Chromium's
    /// before. An `UnknownError` may be transient.
    pub(super) fn is_lost_value(&self) -> bool {
        self.is("NotReadableError") || self.is("NotFoundError")
    }

    /// Converts the error, with what was being done.
    pub(super) fn during(self, doing: &str) -> StoreError {
        let why = if self.is_quota() {
            ": the space that the browser grants this site is used up"
        } else {
            ""
        };
        StoreError::unavailable(format!("{doing}{why}"), self)
    }
}

impl From<JsValue> for BrowserError {
    fn from(error: JsValue) -> Self {
        let text = |property: &str| {
            let value = get(&error, property).ok();
            value.and_then(|value| value.as_string())
        };
        Self {
            name: text("name").unwrap_or_else(|| "Error".to_owned()),
            message: text("message").unwrap_or_else(|| format!("{error:?}")),
        }
    }
}

/// Whether the store failed because the site has used up its space.
pub(super) fn is_for_space(error: &StoreError) -> bool {
    let StoreError::Unavailable { source, .. } = error else {
        return false;
    };
    let error = source.as_ref().and_then(|source| source.downcast_ref());
    error.is_some_and(BrowserError::is_quota)
}

/// Reads a property. The browser may refuse access.
pub(super) fn get(object: &JsValue, property: &str) -> Result<JsValue, JsValue> {
    Reflect::get(object, &property.into())
}

/// Reads a property that must exist.
pub(super) fn there(object: &JsValue, property: &str) -> Result<JsValue, BrowserError> {
    let value = get(object, property)?;
    if value.is_undefined() || value.is_null() {
        return Err(BrowserError::unnamed(format!("there is no `{property}`")));
    }
    Ok(value)
}

/// Reads a property of the page or worker.
pub(super) fn global(property: &str) -> Result<JsValue, BrowserError> {
    there(&js_sys::global(), property)
}

/// A method that can be called on this object.
pub(super) fn method(object: &JsValue, name: &str) -> Result<Function, BrowserError> {
    let value = there(object, name)?;
    let function = value.dyn_into::<Function>();
    function.map_err(|_| BrowserError::unnamed(format!("`{name}` is not a function")))
}

/// A promise, and the function that resolves it.
pub(super) fn promise() -> (Promise, Function) {
    let mut keep = None;
    let promise = Promise::new(&mut |resolve, _reject| keep = Some(resolve));
    // The promise constructor calls back before it returns.
    (promise, keep.unwrap_or_default())
}

/// Resolves a promise.
pub(super) fn keep(keep: &Function, value: &JsValue) {
    // A promise's resolve function does not throw.
    let _ = keep.call1(&JsValue::UNDEFINED, value);
}

/// A promise that resolves after this time, or later if the page is in the background.
pub(super) fn after(time: Duration, value: &JsValue) -> Promise {
    let (elapsed, keep) = promise();
    let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let page = js_sys::global();
    // Pages and workers have timers. Without one, the promise never resolves.
    let _ = method(&page, "setTimeout")
        .map(|start| start.call3(&page, &keep, &f64::from(millis).into(), value));
    elapsed
}
