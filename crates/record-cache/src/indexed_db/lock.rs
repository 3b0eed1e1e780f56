//! One user per slot, using the Web Locks API. It works across the tabs and workers of a site, and
//! the browser releases a lock when its tab or worker ends.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::js::{self, BrowserError};

/// How long to wait for the browser to say that a lock is released. Safari says nothing once it
/// has taken a page's locks away.
const SILENCE: Duration = Duration::from_millis(500);

/// A held lock. Dropping it releases it shortly afterwards.
#[derive(Debug)]
pub(super) struct Lock {
    name: String,
    release: Function,
    /// `None` once we have waited for it.
    released: Option<Promise>,
    is_lost: Rc<Cell<bool>>,
    /// The callback for leaving the back/forward cache, which works only while it is kept here.
    on_show: Closure<dyn FnMut(JsValue)>,
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
        // A request that may wait has a way out of the queue, which the browser allows only there.
        let queued = patience.map(|_| Queued::new()).transpose()?;
        match &queued {
            Some(queued) => Reflect::set(&options, &"signal".into(), &queued.signal)?,
            None => Reflect::set(&options, &"ifAvailable".into(), &true.into())?,
        };
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
            if let Some(queued) = queued {
                queued.leave();
            }
            return Ok(None);
        }
        Ok(Some(Self::of(name, release, released)))
    }

    fn of(name: &str, release: Function, released: Promise) -> Self {
        let is_lost = Rc::new(Cell::new(false));
        let (lost, ended) = (Rc::clone(&is_lost), JsFuture::from(released.clone()));
        spawn_local(async move {
            // A stolen lock's promise is rejected.
            let _ = ended.await;
            lost.set(true);
        });
        let lost = Rc::clone(&is_lost);
        let on_show = Closure::new(move |event: JsValue| {
            // Safari releases the locks of a page in the back/forward cache without a word.
            if js::get(&event, "persisted").is_ok_and(|persisted| persisted.is_truthy()) {
                lost.set(true);
            }
        });
        listen("addEventListener", &on_show);
        Self {
            name: name.to_owned(),
            release,
            released: Some(released),
            is_lost,
            on_show,
        }
    }

    /// Whether the browser has taken the lock away, or may have.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    /// Takes a lost lock again if it is free. Returns whether it is held.
    ///
    /// # Errors
    /// If the browser provides no locks to this page now.
    pub(super) async fn retake(&mut self) -> Result<bool, BrowserError> {
        // If it was not lost after all, it is free only after this.
        self.let_go().await;
        let taken = Self::take(&self.name, None).await?;
        let is_held = taken.is_some();
        if let Some(lock) = taken {
            *self = lock;
        }
        Ok(is_held)
    }

    /// Releases the lock. Once this returns, others can take it.
    pub(super) async fn release(mut self) {
        self.let_go().await;
    }

    async fn let_go(&mut self) {
        js::keep(&self.release, &JsValue::UNDEFINED);
        if let Some(released) = self.released.take() {
            let silence = js::after(SILENCE, &JsValue::UNDEFINED);
            let ended = Promise::race(&Array::of2(&released, &silence));
            let _ = JsFuture::from(ended).await;
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        listen("removeEventListener", &self.on_show);
        js::keep(&self.release, &JsValue::UNDEFINED);
    }
}

/// A request in the queue for a lock. Others stand behind it until it leaves or the page closes.
#[derive(Debug)]
struct Queued {
    controller: JsValue,
    signal: JsValue,
}

impl Queued {
    fn new() -> Result<Self, BrowserError> {
        let make: Function = js::global("AbortController")?.unchecked_into();
        let controller = Reflect::construct(&make, &Array::new())?;
        let signal = js::there(&controller, "signal")?;
        Ok(Self { controller, signal })
    }

    fn leave(self) {
        // This rejects the request's promise, which nobody awaits any more.
        let _ = js::method(&self.controller, "abort").map(|abort| abort.call0(&self.controller));
    }
}

/// Adds or removes a callback for a page that is shown. Workers have no such event.
fn listen(method: &str, on_show: &Closure<dyn FnMut(JsValue)>) {
    let page = js_sys::global();
    let _ = js::method(&page, method)
        .map(|method| method.call2(&page, &"pageshow".into(), on_show.as_ref()));
}
