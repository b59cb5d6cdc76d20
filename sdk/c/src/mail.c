/* Mail, handed in by the host. */
#include "witgate.h"

#ifdef WIT_HAS_MAIL

bool wg__secret(const char *name, bool *found, wit_secrets_borrow_secret_t *secret, wg_error *error);

wg_mail wg_mail_new(wg_str sender, wg_str subject) {
    return (wg_mail){.wit = {.sender = sender, .subject = subject}};
}

void wg_mail_to(wg_mail *mail, wg_str address) {
    mail->wit.recipients.ptr = wg__one_more(mail->wit.recipients.ptr, mail->wit.recipients.len, sizeof address);
    mail->wit.recipients.ptr[mail->wit.recipients.len++] = address;
}

void wg_mail_text(wg_mail *mail, wg_str text) {
    mail->wit.text.is_some = true;
    mail->wit.text.val = text;
}

void wg_mail_html(wg_mail *mail, wg_str html) {
    mail->wit.html.is_some = true;
    mail->wit.html.val = html;
}

bool wg_mail_login(wg_mail *mail, wg_str user, const char *name, wg_error *error) {
    bool found = false;
    wit_secrets_borrow_secret_t secret;
    if (!wg__secret(name, &found, &secret, error)) return false;
    if (!found) return wg_invalid_settings(error, "`%s` is not set", name);
    mail->login.is_some = true;
    mail->login.val.f0 = user;
    mail->login.val.f1 = secret;
    return true;
}

bool wg_mail_send(const wg_mail *mail, wg_str host, uint16_t port, wit_mail_encryption_t encryption, wg_error *error) {
    wit_mail_server_t server = {.host = host, .port = port, .encryption = encryption, .login = mail->login};
    wit_mail_message_t message = mail->wit;
    uint32_t timeout_ms = mail->timeout_ms;
    wit_mail_mail_error_t failed;
    if (wit_mail_send(&server, &message, timeout_ms ? &timeout_ms : NULL, &failed)) return true;
    switch (failed.tag) {
    case WIT_MAIL_MAIL_ERROR_DENIED:
        return wg_denied(error, "%.*s", WG_ARG(failed.val.denied));
    case WIT_MAIL_MAIL_ERROR_TIMEOUT:
        return wg_unavailable(error, "the mail server did not answer in time");
    case WIT_MAIL_MAIL_ERROR_CONNECTION:
        return wg_unavailable(error, "%.*s", WG_ARG(failed.val.connection));
    case WIT_MAIL_MAIL_ERROR_REFUSED: {
        int code = failed.val.refused.code;
        bool (*told)(wg_error *, const char *, ...) = code < 500 ? wg_unavailable : wg_failed;
        return told(error, "the mail server refused: %d %.*s", code, WG_ARG(failed.val.refused.text));
    }
    default:
        return wg_failed(error, "%.*s", WG_ARG(failed.val.invalid));
    }
}

#endif
