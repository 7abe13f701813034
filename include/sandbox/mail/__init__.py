"""The postman: signed webhooks with their deadline and retries."""
