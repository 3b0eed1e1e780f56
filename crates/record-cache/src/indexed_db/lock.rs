//! One user per slot, using the Web Locks API. It works across the tabs and workers of a site, and
//! the browser releases a lock when its tab or worker ends.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::js::{self, BrowserError};

/// A held lock. Dropping it releases it shortly afterwards.
#[derive(Debug)]
pub(super) struct Lock {
    release: Function,
    released: Promise,
}

impl Lock {
    /// Takes a lock if it is free or, if a time is given, becomes free within that time.
    ///
    /// # Errors
    /// If the browser provides no locks to this page.
    pub(super) async fn take(
        name: &str,
        patience: Option<Duration>,
    ) -> Result<Option<Self>, BrowserError> {
        let locks = js::there(&js::global("navigator")?, "locks")?;
        let request = js::method(&locks, "request")?;
        let options = Object::new();
        Reflect::set(&options, &"ifAvailable".into(), &patience.is_none().into())?;
        let (held, release) = js::promise();
        let (decided, decide) = js::promise();
        let given_up = Rc::new(Cell::new(false));
        let is_too_late = Rc::clone(&given_up);
        let callback = Closure::once_into_js(move |lock: JsValue| -> JsValue {
            let is_ours = !lock.is_null() && !is_too_late.get();
            js::keep(&decide, &is_ours.into());
            // The lock is held until this promise resolves. Without a promise, it is released
            // immediately.
            if is_ours {
                held.into()
            } else {
                JsValue::UNDEFINED
            }
        });
        let released: Promise = request
            .call3(&locks, &name.into(), &options, &callback)?
            .unchecked_into();
        // If locks are not allowed, the browser rejects the promise it returned.
        let outcomes = Array::of2(&decided, &released);
        if let Some(patience) = patience {
            outcomes.push(&js::after(patience, &JsValue::FALSE));
        }
        let is_held = JsFuture::from(Promise::race(&outcomes)).await?.is_truthy();
        if !is_held {
            given_up.set(true);
            return Ok(None);
        }
        Ok(Some(Self { release, released }))
    }

    /// Releases the lock. Once this returns, others can take it.
    pub(super) async fn release(self) {
        let released = self.released.clone();
        drop(self);
        let _ = JsFuture::from(released).await;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        js::keep(&self.release, &JsValue::UNDEFINED);
    }
}
