//! Converts JavaScript values to types that may leave the page's thread.

use js_sys::{Function, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// An exception or rejection reason, as text.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{name}: {message}")]
pub(super) struct Thrown {
    name: String,
    message: String,
}

impl From<JsValue> for Thrown {
    fn from(thrown: JsValue) -> Self {
        let text = |property| {
            Reflect::get(&thrown, &JsValue::from_str(property))
                .ok()?
                .as_string()
        };
        let itself = || thrown.as_string().unwrap_or_default();
        Self {
            name: text("name").unwrap_or_else(|| "Error".to_owned()),
            message: text("message").unwrap_or_else(itself),
        }
    }
}

/// A global function of the page or worker.
pub(super) fn global(name: &str) -> Result<Function, Thrown> {
    let found = Reflect::get(&js_sys::global(), &name.into())?;
    found.dyn_into::<Function>().map_err(|_other| Thrown {
        name: "ReferenceError".to_owned(),
        message: format!("there is no global function {name}"),
    })
}
