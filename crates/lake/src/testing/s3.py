"""An S3-compatible store on a port, one request after the other: moto by itself looks whether an
object is absent and puts it later, so that of several threads more than one may win."""

import sys
from threading import Lock

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

store = DomainDispatcherApplication(create_backend_app)
alone = Lock()


def one_at_a_time(environ, start_response):
    with alone:
        return list(store(environ, start_response))


run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True)
