"""The model inside other people's libraries; each module imports its library, none is imported unasked."""
