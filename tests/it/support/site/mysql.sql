CREATE TABLE auth_user (id integer NOT NULL PRIMARY KEY AUTO_INCREMENT, password varchar(128) NOT NULL,
    last_login datetime(6) NULL, is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE,
    first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL, email varchar(254) NOT NULL,
    is_staff bool NOT NULL, is_active bool NOT NULL, date_joined datetime(6) NOT NULL);
CREATE TABLE knox_authtoken (digest varchar(128) NOT NULL PRIMARY KEY, created datetime(6) NOT NULL,
    user_id integer NOT NULL, expiry datetime(6) NULL, token_key varchar(25) NOT NULL,
    FOREIGN KEY (user_id) REFERENCES auth_user (id));
CREATE INDEX knox_authtoken_token_key ON knox_authtoken (token_key);
-- smarter
CREATE TABLE account_account (id bigint NOT NULL PRIMARY KEY AUTO_INCREMENT, created_at datetime(6) NOT NULL,
    updated_at datetime(6) NOT NULL, account_number varchar(255) NULL UNIQUE, company_name varchar(255) NULL);
CREATE TABLE account_userprofile (id bigint NOT NULL PRIMARY KEY AUTO_INCREMENT,
    created_at datetime(6) NOT NULL, updated_at datetime(6) NOT NULL, user_id integer NOT NULL,
    account_id bigint NOT NULL, CONSTRAINT unique_user_account UNIQUE (user_id, account_id),
    FOREIGN KEY (user_id) REFERENCES auth_user (id),
    FOREIGN KEY (account_id) REFERENCES account_account (id));
CREATE TABLE drf_smarterauthtoken (authtoken_ptr_id varchar(128) NOT NULL PRIMARY KEY,
    created_at datetime(6) NOT NULL, updated_at datetime(6) NOT NULL, name varchar(255) NOT NULL,
    description longtext NULL, version varchar(255) NULL, annotations longtext NULL CHECK (json_valid(annotations)),
    user_profile_id bigint NOT NULL, key_id {uuid} NOT NULL UNIQUE, last_used_at datetime(6) NULL,
    is_active bool NOT NULL, tags longtext NOT NULL CHECK (json_valid(tags)),
    FOREIGN KEY (authtoken_ptr_id) REFERENCES knox_authtoken (digest),
    FOREIGN KEY (user_profile_id) REFERENCES account_userprofile (id));
CREATE INDEX drf_smarterauthtoken_created_at ON drf_smarterauthtoken (created_at);
CREATE TABLE llm_client_llmclientapikey (id bigint NOT NULL PRIMARY KEY AUTO_INCREMENT,
    created_at datetime(6) NOT NULL, updated_at datetime(6) NOT NULL, api_key_id varchar(128) NOT NULL,
    FOREIGN KEY (api_key_id) REFERENCES drf_smarterauthtoken (authtoken_ptr_id));
