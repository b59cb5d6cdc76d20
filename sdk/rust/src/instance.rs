//! The one value of the plugin in an instance: made by the first call, kept to the last.

use std::cell::OnceCell;

use crate::Error;

/// Where the export macros keep the plugin.
pub struct Slot<P>(OnceCell<P>);

impl<P> Slot<P> {
    /// An empty slot.
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// The plugin, made by `make` when this is the first call. A failure is not kept: the next call
    /// tries again.
    pub fn get_or_make(&self, make: impl FnOnce() -> Result<P, Error>) -> Result<&P, Error> {
        if let Some(plugin) = self.0.get() {
            return Ok(plugin);
        }
        crate::log::install_panic_hook();
        let plugin = make()?;
        Ok(self.0.get_or_init(|| plugin))
    }
}

impl<P> Default for Slot<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// A type that has a slot. The export macros implement this.
pub trait Single: Sized + 'static {
    /// Runs `f` with this type's slot.
    fn with<R>(f: impl FnOnce(&Slot<Self>) -> R) -> R;
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_kind {
    ($kind:ident, $plugin:ty) => {
        const _: () = {
            ::std::thread_local! {
                static SLOT: $crate::instance::Slot<$plugin> = const { $crate::instance::Slot::new() };
            }

            impl $crate::instance::Single for $plugin {
                fn with<R>(f: impl FnOnce(&$crate::instance::Slot<Self>) -> R) -> R {
                    SLOT.with(f)
                }
            }

            // Natively there is nobody to export to. The plugin counts as used all the same.
            #[cfg(not(target_arch = "wasm32"))]
            const _: fn(
                <$plugin as $crate::$kind::Plugin>::Settings,
            ) -> ::std::result::Result<$plugin, $crate::Error> =
                <$plugin as $crate::$kind::Plugin>::new;

            #[cfg(target_arch = "wasm32")]
            type Exported = $crate::$kind::Export<$plugin>;
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::$kind::export!(Exported with_types_in $crate::bindings::$kind);
        };
    };
}
