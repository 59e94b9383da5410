//! Tests of what only this back end has.

use super::*;
