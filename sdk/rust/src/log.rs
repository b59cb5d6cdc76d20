//! Log lines under the plugin's name.
//!
//! ```no_run
//! # let (kind, count) = ("jwt", 2);
//! witgate_plugin::warn!("found {count} secrets"; "kind" = kind);
//! ```

use std::fmt::Display;

use crate::bindings::host::witgate::host::log;

pub use log::Level;

/// Writes one line; the fields are name and value pairs. The macros [`info!`](crate::info) and its kin
/// are shorter.
pub fn write(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    let fields: Vec<(String, String)> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_string()))
        .collect();
    log::write(level, message, &fields);
}

/// Sends the text of a panic to the operator just before the instance dies of it.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| log::panic(&panic.to_string())));
}

#[doc(hidden)]
#[macro_export]
macro_rules! log_line {
    ($level:ident, $format:literal $(, $arg:expr)* $(; $($name:literal = $value:expr),+ $(,)?)?) => {
        $crate::log::write(
            $crate::log::Level::$level,
            &::std::format!($format $(, $arg)*),
            &[$($(($name, &$value as &dyn ::std::fmt::Display)),+)?],
        )
    };
}

/// Writes a line of level debug: a format string with arguments, then `; "field" = value, …`.
#[macro_export]
macro_rules! debug {
    ($($line:tt)*) => { $crate::log_line!(Debug, $($line)*) };
}

/// Writes a line of level info: a format string with arguments, then `; "field" = value, …`.
#[macro_export]
macro_rules! info {
    ($($line:tt)*) => { $crate::log_line!(Info, $($line)*) };
}

/// Writes a line of level warn: a format string with arguments, then `; "field" = value, …`.
#[macro_export]
macro_rules! warn {
    ($($line:tt)*) => { $crate::log_line!(Warn, $($line)*) };
}

/// Writes a line of level error: a format string with arguments, then `; "field" = value, …`.
#[macro_export]
macro_rules! error {
    ($($line:tt)*) => { $crate::log_line!(Error, $($line)*) };
}
