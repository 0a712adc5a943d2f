"""Send recorded requests at a live server when they were sent, session by session.

    recorded   what a plan needs of one recorded exchange      sessions   which request continues which
    arrivals   times of an arrival process                     plan       when each request is sent, and after which
    changes    what is changed in a request                    history    answers of the live server in the next turn
    driver     carries out a plan                              results    what became of each request, and of the run

Plans are pure; the driver knows a clock, a server, a reader of requests and a recorder as ports only.
"""
