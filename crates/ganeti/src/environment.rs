//! The environment that Ganeti gives its OS scripts, raw and validated.
