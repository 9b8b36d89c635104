//! What Ganeti asks for, validated.
